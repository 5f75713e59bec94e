import type { Screen } from '../shell/screen.ts'
import type { Tick } from './figures.ts'

const LINE_EVERY_S = 5

/** Shows a run's progress: one line redrawn in place on a terminal, otherwise a line every five seconds. */
export class LiveFigures {
  readonly #screen: Screen
  #isDrawn = false
  #saidAtS = Number.NEGATIVE_INFINITY
  #saidShare = -1

  constructor(screen: Screen) {
    this.#screen = screen
  }

  show(tick: Tick): void {
    const isDue = tick.seconds - this.#saidAtS > LINE_EVERY_S - 0.5
    if (this.#screen.isTTY) this.#draw(lineOf(tick))
    else if (isDue) this.say(lineOf(tick))
    if (isDue) this.#saidAtS = tick.seconds
  }

  showProgress(stage: string, done: number, of: number): void {
    const text = `${stage}: ${done.toLocaleString('en')} of ${of.toLocaleString('en')}`
    // If the output is not a terminal, print one line per quarter.
    const share = Math.floor((done / of) * 4)
    if (this.#screen.isTTY) this.#draw(text)
    else if (share !== this.#saidShare) this.say(text)
    this.#saidShare = share
  }

  say(text: string): void {
    this.#clear()
    this.#screen.write(`${text}\n`)
  }

  /** Clears the line. */
  end(): void {
    this.#clear()
  }

  #draw(text: string): void {
    // A wrapped line can't be redrawn. A terminal that does not know its width reports 0.
    this.#screen.write(`\r\u001b[K${text.slice(0, (this.#screen.columns || 80) - 1)}`)
    this.#isDrawn = true
  }

  #clear(): void {
    if (this.#isDrawn) this.#screen.write('\r\u001b[K')
    this.#isDrawn = false
  }
}

const lineOf = (tick: Tick): string =>
  [
    `${tick.seconds.toFixed(0).padStart(4)} s`,
    `${tick.requestsPerSecond.toFixed(0).padStart(4)}/s`,
    `p50 ${tick.p50Ms.toFixed(0)} ms`,
    `p99 ${tick.p99Ms.toFixed(0)} ms`,
    `${tick.failed} failed`,
    `${tick.retries} retries`,
    ...(tick.dropped > 0 ? [`${tick.dropped} dropped`] : []),
    `${tick.inFlight} in flight`,
  ].join('  ')
