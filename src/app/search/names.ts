import type { Duty, DutyTools } from '../../jobs/duties.ts'
import { type WalkedRows, walk, workOff } from '../../jobs/walk.ts'
import type { ShardFailure } from '../../sharding/scatter.ts'
import { searchName } from '../profiles/names.ts'

/** Rows per shard and turn. With a turn every three minutes, a shard of 100,000 rows takes 10 hours. */
const ROWS_MAX = 500

/** To read the position and the rows, to correct names, and to keep the position. */
const STATEMENTS_PER_SHARD = 4

interface NamedRow {
  id: string
  displayName: string
  searchName: string | null
  version: number
}

/**
 * Corrects `search_name` in rows from before the column existed, and in rows whose name a previous version of the Worker
 * has changed since, as during a deployment or after a rollback. It is not part of the profile that others see, so the
 * version stays.
 */
export const nameDuty = ({ shards, log }: Pick<DutyTools, 'shards' | 'log'>): Duty => ({
  name: 'search.names-filled',
  async run(window) {
    const { values: visits, failed } = await walk<NamedRow>(
      shards,
      {
        duty: 'search',
        tables: [{ name: 'profiles', columns: 'id, display_name AS displayName, search_name AS searchName, version' }],
        rowsMax: ROWS_MAX,
        statementsPerShard: STATEMENTS_PER_SHARD,
      },
      window,
    )
    const onFailure = ({ shard, error }: ShardFailure) => log.error('search.names-not-filled', { shard, error })
    failed.forEach(onFailure)
    return workOff(visits, fillNames, onFailure)
  },
})

async function fillNames({ shard, rows, advance }: WalkedRows<NamedRow>): Promise<number> {
  const named = rows
    .map(({ id, version, displayName, searchName: old }) => ({ id, version, old, name: searchName(displayName) }))
    .filter(({ old, name }) => old !== name)
  const filled = named.length === 0 ? 0 : await correct(shard, named)
  await advance(rows)
  return filled
}

async function correct({ run, ownedHere }: WalkedRows<NamedRow>['shard'], named: object[]): Promise<number> {
  // A name that has changed since has raised the version.
  const { results } = await run<{ id: string }>(
    `UPDATE profiles SET search_name = part.value ->> 'name' FROM json_each(?) AS part
     WHERE profiles.id = part.value ->> 'id' AND version = part.value ->> 'version'
       AND ${ownedHere('profiles.id')} RETURNING id`,
    JSON.stringify(named),
  )
  return results.length
}
