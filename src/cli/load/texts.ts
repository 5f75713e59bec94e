const WORDS =
  'aerial root shade trunk branch figs rain trees grow slowly then all at once größer 榕树 δέντρο वट 🌳 it’s 5 < 6 & “quoted”'.split(
    ' ',
  )
const WORDS_MAX = 25

/**
 * What a run writes under a number: the text of a post, or a profile's bio. The number is in it, and decides the words;
 * so what is read can be held against what was sent, to the character, and nothing but numbers has to be kept. 300
 * characters at most: the bound on a bio.
 */
export function textOf(run: string, number: number): string {
  const words = [`${run}`, `#${number}:`]
  let mixed = Math.imul(number + 1, 0x9e3779b1) >>> 0
  for (let left = mixed % WORDS_MAX; left >= 0; left--) {
    mixed = (Math.imul(mixed, 1_664_525) + 1_013_904_223) >>> 0
    words.push(WORDS[(mixed >>> 16) % WORDS.length]!)
  }
  return words.join(' ')
}

/** The number under which a run wrote this text, to the character; null for any other text. */
export function numberIn(run: string, text: string): number | null {
  const number = Number(/^\S+ #(\d{1,9}): /.exec(text)?.[1] ?? Number.NaN)
  return Number.isInteger(number) && textOf(run, number) === text ? number : null
}
