const WORDS =
  'aerial root shade trunk branch figs rain trees grow slowly then all at once größer 榕树 δέντρο वट 🌳 it’s 5 < 6 & “quoted”'.split(
    ' ',
  )
const WORDS_MAX = 25

/**
 * The numbered texts of a run. A text contains its number, which determines its words. A text that is read can
 * therefore be compared exactly with the one that was sent, and a run only needs to keep numbers.
 */
export class RunTexts {
  /** The run's name, which starts each text. */
  readonly run: string
  #number = 0

  constructor(run: string) {
    this.run = run
  }

  /** A new number. */
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

/** A text in a report: its number, or its first 80 characters if no write has that text. */
export const shownText = (number: number | null, text?: string | null): string =>
  number === null ? `another text${text ? `: ${text.slice(0, 80)}` : ''}` : `text ${number}`
