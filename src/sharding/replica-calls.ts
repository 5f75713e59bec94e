import { messageOf } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import { answerOf } from './answers.ts'
import type { Connection } from './guarded-batch.ts'
import { observed, type Routing, type ShardCall } from './routing.ts'
import type { ShardEntry } from './shard-map.ts'

/** `replica`: wherever D1 answers soonest from. That may be the primary. */
export type ReadPlace = 'replica' | 'primary'

/** The connection for a plain read. */
export function readerOf(
  { replicas }: Pick<Routing, 'replicas'>,
  shard: ShardEntry,
  database: D1Database,
  place: ReadPlace,
): Connection {
  if (!replicas) return database
  const start = place === 'primary' ? 'first-primary' : (replicas.floorOf(shard) ?? 'first-unconstrained')
  return database.withSession(start)
}

/** The connection for a call that goes to the primary. */
export function primaryOf(
  { replicas }: Pick<Routing, 'replicas'>,
  shard: ShardEntry,
  database: D1Database,
  kind: 'write' | 'exact-read',
) {
  const session = replicas ? database.withSession('first-primary') : null
  return {
    connection: session ?? database,
    /** Resolves like the answer. The client's reads after a write then start at the bookmark of its answer. */
    async noted<R>(answer: Promise<R>): Promise<R> {
      const arrived = await answer
      const bookmark = session?.getBookmark() ?? null
      if (kind === 'write') replicas?.noteWrite(shard, bookmark)
      else replicas?.noteExactRead(shard, bookmark)
      return arrived
    },
  }
}

/**
 * A plain read that a replica may answer. `fell back`: it has no answer in time or failed, so it must go to the primary.
 * A replica that is too far behind waits for the bookmark, and a bookmark that the database does not know is an error.
 */
export async function askedOfReplica<R>(
  routing: Routing,
  shard: ShardEntry,
  call: ShardCall,
  send: () => Promise<R>,
  leftMs = Number.POSITIVE_INFINITY,
): Promise<{ value: R } | { error: unknown } | 'fell back'> {
  const { clock, replicas } = routing
  const startedAt = clock.now()
  const outcome = await observed(routing, call, send, Math.min(limits.replicaReadMs, leftMs))
  const read = { shard: shard.id, operation: call.operation, ms: clock.now() - startedAt }
  if ('value' in outcome) {
    const isLong = read.ms >= limits.replicaWaitedMs
    if (isLong && replicas?.floorOf(shard) != null) replicas.observe('waited', read)
    return outcome
  }
  if (!isOfReplica(outcome.error)) return outcome
  replicas?.observe('fellBack', read)
  return 'fell back'
}

/** True if the primary may answer what the replica did not. A replica may be behind the last migration. */
function isOfReplica(error: unknown): boolean {
  const { kind } = answerOf(error)
  return (
    kind === 'transient' ||
    kind === 'overloaded' ||
    kind === 'not-migrated' ||
    /bookmark|no such column/i.test(messageOf(error))
  )
}
