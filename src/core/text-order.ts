/** SQLite's default order of texts: by the bytes of their UTF-8, which is the order of their code points. */

const SURROGATES = 0xd800
const AFTER_SURROGATES = 0xe000
const CODE_POINT_MAX = 0x10ffff

/**
 * Below 0 if `one` sorts first. JavaScript's `<` compares UTF-16 units, in which characters beyond U+FFFF (as
 * surrogates) sort before those from U+E000 on.
 */
export function compareTexts(one: string, other: string): number {
  const length = Math.min(one.length, other.length)
  for (let at = 0; at < length; at++) {
    const difference = rankOf(one.charCodeAt(at)) - rankOf(other.charCodeAt(at))
    if (difference !== 0) return difference
  }
  return one.length - other.length
}

/** A UTF-16 unit's place in the order of code points: surrogates come last. */
const rankOf = (unit: number): number => {
  if (unit < SURROGATES) return unit
  return unit < AFTER_SURROGATES ? unit + 0x2000 : unit - 0x800
}

/**
 * The first text after all texts that start with `prefix`, or null if none sorts after them. The last character is
 * raised by one. The last character of all (U+10FFFF) cannot be raised, so the character before it is.
 */
export function prefixEnd(prefix: string): string | null {
  const characters = [...prefix]
  for (;;) {
    const last = characters.pop()?.codePointAt(0)
    if (last === undefined) return null
    if (last === CODE_POINT_MAX) continue
    const raised = last + 1 === SURROGATES ? AFTER_SURROGATES : last + 1
    return characters.join('') + String.fromCodePoint(raised)
  }
}
