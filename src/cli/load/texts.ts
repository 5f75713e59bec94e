const WORDS =
  'aerial root shade trunk branch figs rain trees grow slowly then all at once größer 榕树 δέντρο वट 🌳 it’s 5 < 6 & “quoted”'.split(
    ' ',
  )
const WORDS_MAX = 25

/**
 * What a run writes, each text under a number. The number is in the text and decides its words. So what is read can be
 * compared with what was sent, to the character, and only numbers have to be kept.
 */
export class RunTexts {
  /** The run's name, with which each text begins. */
  readonly run: string
  #number = 0

  constructor(run: string) {
    this.run = run
  }

  /** A number that no text has had yet. */
  nextNumber(): number {
    return ++this.#number
  }

  /** The text with this number: at most 300 characters. */
  textOf(number: number): string {
    const words = [this.run, `#${number}:`]
    let mixed = Math.imul(number + 1, 0x9e3779b1) >>> 0
    for (let left = mixed % WORDS_MAX; left >= 0; left--) {
      mixed = (Math.imul(mixed, 1_664_525) + 1_013_904_223) >>> 0
      words.push(WORDS[(mixed >>> 16) % WORDS.length] ?? '')
    }
    return words.join(' ')
  }

  /** The number of a text of this run; null for any other text. */
  numberIn(text: string | null | undefined): number | null {
    const number = Number(/^\S+ #(\d{1,9}): /.exec(text ?? '')?.[1] ?? Number.NaN)
    return Number.isInteger(number) && this.textOf(number) === text ? number : null
  }
}

/** A text as a report shows it: by its number, or by its beginning if no write has that text. */
export const shownText = (number: number | null, text?: string | null): string =>
  number === null ? `another text${text ? `: ${text.slice(0, 80)}` : ''}` : `text ${number}`
