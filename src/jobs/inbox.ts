import type { Keyspace } from '../sharding/sharded-table.ts'

/** The inboxes of the first two keyspaces have names of their own. */
const named: Partial<Record<Keyspace, string>> = { users: 'inbox', claims: 'claim_inbox' }

/**
 * The table with the inbox rows of a keyspace. Each keyspace has its own, because an inbox row is written in the
 * effect's batch and slot.
 */
export const inboxTable = (keyspace: Keyspace): string => named[keyspace] ?? `${keyspace}_inbox`
