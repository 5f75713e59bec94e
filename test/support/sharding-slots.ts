import { env } from 'cloudflare:workers'
import type { Keyspace } from '../../src/sharding/sharded-table.ts'

const bindings = env as unknown as { SHARD_000: D1Database; SHARD_001: D1Database }

/** The two bound shards, by binding name. */
export const databases = { SHARD_000: bindings.SHARD_000, SHARD_001: bindings.SHARD_001 }

export const slotStates = ['active', 'moving', 'fenced', 'importing', 'moved', null] as const
/** The state of a slot in a shard; null if it has no row there. */
export type SlotState = (typeof slotStates)[number]

/** The statement that brings a slot into a state. */
export function slotStatement(database: D1Database, keyspace: Keyspace, slot: string, state: SlotState, epoch = 1) {
  if (state === null) return database.prepare('DELETE FROM slots WHERE keyspace = ? AND slot = ?').bind(keyspace, slot)
  return database
    .prepare(
      `INSERT INTO slots (keyspace, slot, state, epoch, move_id) VALUES (?, ?, ?, ?, 'move-1')
       ON CONFLICT (keyspace, slot) DO UPDATE SET state = excluded.state, epoch = excluded.epoch`,
    )
    .bind(keyspace, slot, state, epoch)
}

export const setSlot = async (...args: Parameters<typeof slotStatement>) => {
  await slotStatement(...args).run()
}

/** The rejection of a promise. Fails the test if the promise is fulfilled. */
export async function rejectionOf(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  if ('value' in outcome) throw new Error(`it did not fail, but resolved to ${JSON.stringify(outcome.value)}`)
  return outcome.error as Error
}
