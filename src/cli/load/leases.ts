import type { Move } from '../../console/shapes.ts'
import { MAP_COPY_MS } from '../moves/map-copy.ts'
import { isOver } from '../moves/move-text.ts'
import { movePages } from '../moves/requests.ts'
import type { Connection } from '../shell/client.ts'
import type { Clock } from './client.ts'

/**
 * For this long after a move, a reader without a token may still be answered by the slot's previous shard, which
 * keeps its rows for that time: a lease of the map (30 s, `LEASE_MS`), a data centre's copy of the map (10 s), and 1 s.
 *
 * @public For nouns.
 */
export const STALE_MS_MAX = 30_000 + MAP_COPY_MS

/** Limits the wait, because successive moves may change the map again and again. */
const WAIT_MS_MAX = 300_000
const POLL_MS = 1_000

type SeenMove = Pick<Move, 'id' | 'state' | 'settlesAt'>
export type FindMoves = () => Promise<SeenMove[]>

/** Finds the open moves through the operators' API. The result throws if the API can't be reached. */
export const openMoves =
  (connect: () => Connection): FindMoves =>
  async () => {
    const connection = connect()
    const found: Move[] = []
    for await (const { items } of movePages(connection)) {
      const open = items.filter((move) => !isOver(move))
      found.push(...open)
      // Newest first: pages after one without open moves have none either.
      if (open.length === 0) break
    }
    return found
  }

/**
 * True for a move that changes the map, changed it recently, or is being reversed. A move that has settled has a time.
 */
const mayBeStale = ({ state, settlesAt }: SeenMove): boolean =>
  state === 'cutover' || state === 'committed' || (settlesAt !== null && state !== 'purging')

export interface LeaseWait {
  /** When the last write was answered. */
  writtenAt: number
  clock: Clock
  /** Null if no token is known. */
  findMoves: FindMoves | null
  onProgress(doneMs: number, ofMs: number): void
}

/**
 * Waits until every read goes to the shards of the current map, not to the source of a move: 41 s after the last write
 * and after any change of the map seen meanwhile, for at most 5 minutes. If the operators' API shows no settling move,
 * there is no wait, because a source keeps its rows until the last lease expires. Resolves to the number of moves that
 * have yet to change the map; null if it is unknown.
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
    return null // Waiting is right, whatever the reason.
  }
}
