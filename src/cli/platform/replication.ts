/** D1's read replication, which the API switches per database. */
import type { Platform } from './api.ts'

/** `auto`: the platform keeps replicas, and chooses their number and places. */
export type ReplicationMode = 'auto' | 'disabled'

export interface DatabaseState {
  mode: ReplicationMode
  /** The region of the primary, like `WEUR`, or null if the API does not name it. */
  region: string | null
  jurisdiction: string | null
}

interface Described {
  read_replication?: { mode: ReplicationMode } | null
  running_in_region?: string | null
  jurisdiction?: string | null
}

const path = (databaseId: string): string => `/d1/database/${databaseId}`

export async function databaseState(platform: Platform, databaseId: string): Promise<DatabaseState> {
  return stateOf(await platform.call<Described>({ method: 'GET', path: path(databaseId) }))
}

/** Idempotent. Resolves to the state that the API reports afterwards. */
export async function setReplication(
  platform: Platform,
  databaseId: string,
  mode: ReplicationMode,
): Promise<DatabaseState> {
  const body = { read_replication: { mode } }
  return stateOf(await platform.call<Described>({ method: 'PUT', path: path(databaseId), body }))
}

/** A database that was never switched has no mode. */
const stateOf = ({ read_replication, running_in_region, jurisdiction }: Described): DatabaseState => ({
  mode: read_replication?.mode ?? 'disabled',
  region: running_in_region ?? null,
  jurisdiction: jurisdiction ?? null,
})
