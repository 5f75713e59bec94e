import { setTimeout as sleep } from 'node:timers/promises'
import type { Move } from '../../console/shapes.ts'
import { NotNow, UserError } from '../shell/errors.ts'
import { bar, type Screen, type Timer } from '../shell/screen.ts'
import { isOver, percent, rowsOf, settleTime, stateOf } from './move-text.ts'

const POLL_MS = 300
const LOST_MS_MAX = 30_000

export interface Following {
  until: 'settling' | 'done'
  read(ids: string[]): Promise<Move[]>
  screen: Screen
  timer?: Timer
}

/**
 * Shows moves until each has reached `until` or has ended. On a terminal it redraws one bar per move; otherwise it
 * prints a line for each change of state. It retries an unavailable server for 30 s. Resolves to the moves' last state.
 */
export async function followMoves(
  moves: Move[],
  { until, read, screen, timer = { now: () => performance.now(), sleep } }: Following,
): Promise<Move[]> {
  const display = screen.isTTY ? new Bars(screen) : new Lines(screen)
  const ids = moves.map(({ id }) => id)
  let newest = moves
  let lostAt: number | null = null
  let pauseMs = POLL_MS
  for (;;) {
    if (lostAt === null) display.show(newest)
    if (newest.every((move) => hasReached(move, until))) return newest
    await timer.sleep(pauseMs)
    pauseMs = POLL_MS
    try {
      newest = await read(ids)
      if (lostAt !== null) display.say('The server answers again.')
      lostAt = null
    } catch (error) {
      if (!(error instanceof NotNow)) throw error
      if (lostAt === null) display.say(`${error.message} Retrying for ${LOST_MS_MAX / 1_000} s.`)
      lostAt ??= timer.now()
      if (timer.now() - lostAt >= LOST_MS_MAX) throw gaveUp(error, ids)
      pauseMs = Math.max(POLL_MS, error.retryAfterMs)
    }
  }
}

/** A move continues whether it is watched or not. */
const gaveUp = ({ message, fix }: NotNow, ids: string[]) =>
  new UserError(
    `${message} The command stops watching; the moves continue.`,
    [fix, ...ids.map((id) => `To watch again: npm run banyan -- moves show ${id} --follow`)].join('\n'),
  )

function hasReached({ state }: Move, until: 'settling' | 'done'): boolean {
  if (isOver({ state })) return true
  return until === 'settling' && (state === 'settling' || state === 'purging')
}

/** Prints a line per change of a move's state, for logs and pipes. */
class Lines {
  readonly #screen: Screen
  readonly #states = new Map<string, string>()

  constructor(screen: Screen) {
    this.#screen = screen
  }

  show(moves: Move[]): void {
    for (const move of moves) {
      if (this.#states.get(move.id) === stateOf(move)) continue
      this.#states.set(move.id, stateOf(move))
      this.say(`${move.id}  ${move.source} → ${move.target}  ${percent(move).padStart(4)}  ${stage(move)}`)
    }
  }

  say(text: string): void {
    this.#screen.write(`${text}\n`)
  }
}

/** Draws one bar per move and redraws it in place, for terminals. */
class Bars {
  readonly #screen: Screen
  #drawn = 0

  constructor(screen: Screen) {
    this.#screen = screen
    screen.write('Ctrl-C stops watching; the moves continue.\n')
  }

  show(moves: Move[]): void {
    // A wrapped line takes two rows, and a line that scrolled off the screen can't be redrawn.
    const width = (this.#screen.columns ?? 80) - 1
    const height = (this.#screen.rows ?? 24) - 2
    const lines = moves.slice(0, height).map((move) => barOf(move).slice(0, width))
    this.#clear()
    this.#screen.write(lines.map((line) => `${line}\n`).join(''))
    this.#drawn = lines.length
  }

  say(text: string): void {
    this.#clear()
    this.#screen.write(`${text}\n`)
  }

  #clear(): void {
    if (this.#drawn > 0) this.#screen.write(`\u001b[${this.#drawn}A\u001b[0J`)
    this.#drawn = 0
  }
}

const barOf = (move: Move): string =>
  `${move.source} → ${move.target}  ${bar(move.progress)} ${percent(move).padStart(4)}  ${stage(move)}`

const stage = (move: Move): string =>
  move.state === 'settling' ? `settling until ${settleTime(move)}` : `${stateOf(move)}: ${rowsOf(move)}`
