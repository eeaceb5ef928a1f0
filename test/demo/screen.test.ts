import { describe, expect, it } from 'vitest';
import { Screen, type ScreenOptions } from '../../src/demo/screen.js';

const ESCAPE = '\u001b';

function screenWith(options: Partial<ScreenOptions>): { screen: Screen; text: () => string } {
  let text = '';
  const write = (more: string) => {
    text += more;
  };
  const signal = new AbortController().signal;
  const screen = new Screen({ interactive: false, colour: false, fast: true, signal, write, ...options });
  return { screen, text: () => text };
}

describe("the demo's screen", () => {
  it('prints plain text when there is no terminal', () => {
    const { screen, text } = screenWith({});
    screen.heading('Title');
    screen.good('done');
    screen.bad('broken');
    screen.command('weft status');
    screen.block('a\n\nb', 'dim');
    screen.picture(['one']);
    screen.picture(['two']);
    expect(text()).toBe('\nTitle\n  ✓ done\n  ✗ broken\n  $ weft status\n  a\n\n  b\n  one\n  two\n');
  });

  it('colours on a terminal', () => {
    const { screen, text } = screenWith({ interactive: true, colour: true });
    screen.good('done');
    expect(text()).toBe(`  ${ESCAPE}[32m✓${ESCAPE}[0m done\n`);
  });

  it('redraws without colours when they are not wanted', () => {
    const { screen, text } = screenWith({ interactive: true });
    screen.picture(['one', 'line']);
    screen.picture(['two', 'lines']);
    expect(text()).toBe(`  one${ESCAPE}[K\n  line${ESCAPE}[K\n${ESCAPE}[2A  two${ESCAPE}[K\n  lines${ESCAPE}[K\n`);
  });

  it('does not draw over what was printed after the last picture', () => {
    const { screen, text } = screenWith({ interactive: true });
    screen.picture(['one']);
    screen.line('between');
    screen.picture(['two']);
    expect(text()).not.toContain(`${ESCAPE}[1A`);
  });

  it('ends a pause at once when the demo is interrupted', async () => {
    const stop = new AbortController();
    const { screen } = screenWith({ fast: false, signal: stop.signal });
    const pause = screen.pause(60_000);
    stop.abort();
    await expect(pause).rejects.toThrow('aborted');
  });
});
