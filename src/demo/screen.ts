/**
 * How the demo speaks: headings, sentences, commands with their output, and a picture that is redrawn in place. Colours
 * and redrawing only on a terminal, and no colours with NO_COLOR. Holds no state of the demo.
 */
import { setTimeout as sleep } from 'node:timers/promises';

export interface ScreenOptions {
  /** The output is a terminal: pictures may be redrawn. */
  readonly interactive: boolean;
  readonly colour: boolean;
  /** No pauses. */
  readonly fast: boolean;
  readonly signal: AbortSignal;
  write(text: string): void;
}

const ESCAPE = '\u001b[';
const styles = { bold: '1', dim: '2', red: '31', green: '32', yellow: '33', cyan: '36' } as const;
export type Style = keyof typeof styles;

export class Screen {
  private readonly options: ScreenOptions;
  /** Lines of the live picture on the terminal now. */
  private drawn = 0;

  constructor(options: ScreenOptions) {
    this.options = options;
  }

  get interactive(): boolean {
    return this.options.interactive;
  }

  paint(style: Style, text: string): string {
    return this.options.colour ? `${ESCAPE}${styles[style]}m${text}${ESCAPE}0m` : text;
  }

  line(text = ''): void {
    this.drawn = 0;
    this.options.write(`${text}\n`);
  }

  heading(text: string): void {
    this.line();
    this.line(this.paint('bold', text));
  }

  /** Every line of `text`, set in. */
  block(text: string, style?: Style): void {
    for (const line of text.split('\n'))
      this.line(`  ${style === undefined ? line : this.paint(style, line)}`.trimEnd());
  }

  command(text: string): void {
    this.line(`  ${this.paint('cyan', `$ ${text}`)}`);
  }

  good(text: string): void {
    this.line(`  ${this.paint('green', '✓')} ${text}`);
  }

  bad(text: string): void {
    this.line(`  ${this.paint('red', '✗')} ${text}`);
  }

  /** Draws over the picture drawn before it, if nothing else was printed since. Off a terminal each is printed below. */
  picture(lines: readonly string[]): void {
    const up = this.options.interactive && this.drawn > 0 ? `${ESCAPE}${this.drawn}A` : '';
    const clear = this.options.interactive ? `${ESCAPE}K` : '';
    this.options.write(`${up}${lines.map((line) => `  ${line}${clear}\n`).join('')}`);
    this.drawn = lines.length;
  }

  /** Time to read. Throws when the demo is interrupted. */
  async pause(milliseconds: number): Promise<void> {
    await sleep(this.options.fast ? 0 : milliseconds, undefined, { signal: this.options.signal });
  }
}
