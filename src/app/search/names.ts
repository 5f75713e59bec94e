import type { Duty, DutyTools } from '../../jobs/duties.ts'
import { affordable, type ShardVisit } from '../../sharding/shards.ts'
import { searchName } from '../profiles/names.ts'

/** Rows per shard and turn. With a turn every three minutes, a shard of 100,000 old rows takes 10 hours. */
const ROWS_MAX = 500

interface UnnamedRow {
  id: string
  displayName: string
  version: number
}

/**
 * Fills `search_name` in rows from before the column existed, a bounded number per shard and turn. It is not part of the
 * profile that others see, so the version stays.
 */
export const nameDuty = ({ shards, log }: Pick<DutyTools, 'shards' | 'log'>): Duty => ({
  name: 'search.names-filled',
  async run(window) {
    const { values, failed } = await shards.each('users', fillNames, affordable(window, 2))
    for (const { shard, error } of failed) log.error('search.names-not-filled', { shard, error })
    return values.reduce((sum, count) => sum + count, 0)
  },
})

async function fillNames({ run, ownedHere }: ShardVisit): Promise<number> {
  const unnamed = await run<UnnamedRow>(
    `SELECT id, display_name AS displayName, version FROM profiles WHERE search_name IS NULL AND ${ownedHere('id')} LIMIT ?`,
    ROWS_MAX,
  )
  if (unnamed.results.length === 0) return 0
  const named = unnamed.results.map(({ id, displayName, version }) => [id, version, searchName(displayName)])
  // A name that has changed since has raised the version, and was normalised by its change.
  const filled = await run<{ id: string }>(
    `UPDATE profiles SET search_name = part.value ->> 2 FROM json_each(?) AS part
     WHERE profiles.id = part.value ->> 0 AND version = part.value ->> 1 AND search_name IS NULL
       AND ${ownedHere('profiles.id')} RETURNING id`,
    JSON.stringify(named),
  )
  return filled.results.length
}
