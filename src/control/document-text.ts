/** What the words of a document may be made of, whichever reader takes them from its text. Pure; runs anywhere. */
const KEY_LENGTH_MAX = 256;

/** No control characters but tab and newline, no lone surrogates. */
export function isCleanText(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return !/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text) && !/\p{Surrogate}/u.test(text);
}

/** A word that is no key of JavaScript's own (UNUSABLE_KEY). */
export function isKeyName(name: string): boolean {
  return isKeyWord(name) && name !== UNUSABLE_KEY;
}

export function isKeyWord(name: string): boolean {
  return name !== '' && name.length <= KEY_LENGTH_MAX && isCleanText(name);
}

/** Assigned to, it is no key but what an object inherits from. */
export const UNUSABLE_KEY = '__proto__';
