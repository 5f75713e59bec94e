import { setTimeout as sleep } from 'node:timers/promises'
import type { Backfill } from '../../console/shapes.ts'
import { NotNow, UserError } from '../shell/errors.ts'
import { bar, type Screen, type Timer } from '../shell/screen.ts'

const POLL_MS = 1_000
const LOST_MS_MAX = 30_000

interface Following {
  read(): Promise<Backfill>
  screen: Screen
  timer?: Timer
}

/**
 * Shows a backfill until it is over or paused. On a terminal it redraws a bar; otherwise it prints a line for each
 * change. It retries an unavailable server for 30 s. Resolves to the last status.
 */
export async function followBackfill(
  started: Backfill,
  { read, screen, timer = { now: () => performance.now(), sleep } }: Following,
): Promise<Backfill> {
  let newest = started
  let lostAt: number | null = null
  let shown = ''
  if (screen.isTTY) screen.write('Ctrl-C stops watching; the backfill continues.\n')
  for (;;) {
    const line = lineOf(newest)
    if (line !== shown) screen.write(screen.isTTY && shown !== '' ? `\u001b[1A\u001b[0J${line}\n` : `${line}\n`)
    shown = line
    if (newest.state !== 'waiting' && newest.state !== 'running') return newest
    await timer.sleep(POLL_MS)
    try {
      newest = await read()
      lostAt = null
    } catch (error) {
      if (!(error instanceof NotNow)) throw error
      lostAt ??= timer.now()
      if (timer.now() - lostAt >= LOST_MS_MAX)
        throw new UserError(
          `${error.message} The command stops watching; the backfill continues.`,
          `${error.fix}\nTo watch again: npm run banyan -- backfill run ${started.name}`,
        )
    }
  }
}

export const percentOf = ({ progress }: Pick<Backfill, 'progress'>): string => `${Math.floor(progress * 100)}%`

export const lineOf = (backfill: Backfill): string =>
  `${backfill.name}  ${bar(backfill.progress)} ${percentOf(backfill).padStart(4)}  ${backfill.state}`
