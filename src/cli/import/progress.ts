import { bar, type Screen, type Timer } from '../shell/screen.ts'

const BAR_MS = 100
const LINE_MS = 5_000

/** Shows the progress of a stage: a bar redrawn in place on a terminal, otherwise a line every 5 s. */
export class Progress {
  readonly #screen: Screen
  readonly #timer: Timer
  #toldAt = Number.NEGATIVE_INFINITY
  #isDrawn = false

  constructor(screen: Screen, timer: Timer) {
    this.#screen = screen
    this.#timer = timer
  }

  show(what: string, fraction: number): void {
    const now = this.#timer.now()
    const isOver = fraction >= 1
    if (!isOver && now - this.#toldAt < (this.#screen.isTTY ? BAR_MS : LINE_MS)) return
    this.#toldAt = isOver ? Number.NEGATIVE_INFINITY : now
    const percent = `${Math.floor(fraction * 100)}%`.padStart(4)
    if (!this.#screen.isTTY) return void this.#screen.write(`${percent}  ${what}\n`)
    this.#clear()
    this.#screen.write(`${`${bar(fraction)} ${percent}  ${what}`.slice(0, (this.#screen.columns ?? 80) - 1)}\n`)
    this.#isDrawn = !isOver
  }

  say(text: string): void {
    this.#clear()
    this.#screen.write(`${text}\n`)
  }

  #clear(): void {
    if (this.#isDrawn) this.#screen.write('\u001b[1A\u001b[0J')
    this.#isDrawn = false
  }
}
