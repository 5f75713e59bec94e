import type { Move } from '../../console/shapes.ts'
import { MAP_COPY_MS } from '../moves/map-copy.ts'
import { isOver } from '../moves/move-text.ts'
import { movePages } from '../moves/requests.ts'
import type { Connection } from '../shell/client.ts'
import type { Clock } from './client.ts'

/**
 * So long a stranger may be answered by the shard that a slot was moved away from, which keeps its rows for that: a lease
 * of the map (30 s; `LEASE_MS`), a data centre's copy of it (10 s), and a second.
 *
 * @public For nouns.
 */
export const STALE_MS_MAX = 30_000 + MAP_COPY_MS

/** Moves that follow each other change the map again and again: then this is enough. */
const WAIT_MS_MAX = 300_000
const POLL_MS = 1_000

type SeenMove = Pick<Move, 'id' | 'state' | 'settlesAt'>
export type FindMoves = () => Promise<SeenMove[]>

/** Moves that aren't over, by the operators' API. Throws where it can't be asked. */
export const openMoves =
  (connect: () => Connection): FindMoves =>
  async () => {
    const connection = connect()
    const found: Move[] = []
    for await (const { items } of movePages(connection)) {
      const open = items.filter((move) => !isOver(move))
      found.push(...open)
      // Newest first: behind a page of moves that are all over there is none that isn't.
      if (open.length === 0) break
    }
    return found
  }

/** It is changing the map, has lately, or had and is on its way back: what has settled once has a time for it. */
const mayBeStale = ({ state, settlesAt }: SeenMove): boolean =>
  state === 'cutover' || state === 'committed' || (settlesAt !== null && state !== 'purging')

export interface LeaseWait {
  /** When the last write was answered. */
  writtenAt: number
  clock: Clock
  /** Null where no token is known. */
  findMoves: FindMoves | null
  onProgress(doneMs: number, ofMs: number): void
}

/**
 * Waits until what is read is what the shards of the map have, not what a move has left at its source: for 41 s after the
 * last write, and after any change of the map that is seen meanwhile (for 5 minutes at most). Where the operators' API
 * tells that no move is being settled there is nothing to wait for: a source keeps its rows until the last lease. Resolves
 * to how many moves are yet to change the map; null where nobody tells.
 */
export async function untilLeasesEnd({ writtenAt, clock, findMoves, onProgress }: LeaseWait): Promise<number | null> {
  const endsAt = clock.now() + WAIT_MS_MAX
  let changedAt = writtenAt
  let before: string[] = []
  for (;;) {
    const moves = await known(findMoves)
    const now = clock.now()
    const stale = moves?.filter(mayBeStale) ?? []
    const settled = stale.filter(({ settlesAt }) => settlesAt !== null).map(({ id, state }) => `${id} ${state}`)
    if (stale.length > settled.length || settled.some((one) => !before.includes(one))) changedAt = now
    before = settled
    const isQuiet = moves !== null && stale.length === 0
    if (isQuiet || now >= Math.min(endsAt, changedAt + STALE_MS_MAX))
      return moves?.filter(({ state }) => state !== 'settling' && state !== 'purging').length ?? null
    onProgress(now - changedAt, STALE_MS_MAX)
    await clock.sleep(POLL_MS)
  }
}

async function known(findMoves: FindMoves | null): Promise<Awaited<ReturnType<FindMoves>> | null> {
  try {
    return (await findMoves?.()) ?? null
  } catch {
    return null // To wait is right whatever the reason is.
  }
}
