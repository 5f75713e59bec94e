import { expect, test } from 'vitest'
import { shardedTables } from '../../../scripts/shard-schema.ts'
import { inboxTable } from '../../../src/jobs/inbox.ts'
import { keyspaces } from '../../../src/sharding/sharded-table.ts'

test('each keyspace has an inbox of its own, so that a job can have its effect there once', async () => {
  const tables = await shardedTables()
  const inboxes = keyspaces.map((keyspace) => {
    const found = tables.find(({ name }) => name === inboxTable(keyspace))
    return { keyspace: found?.keyspace, columns: found?.columns }
  })
  expect(inboxes).toEqual(keyspaces.map((keyspace) => ({ keyspace, columns: ['id', 'done_at'] })))
})

test('the name of a keyspace is a lower-case word, because triggers and file names contain it', () => {
  for (const keyspace of keyspaces) expect(keyspace).toMatch(/^[a-z]+(_[a-z]+)*$/)
  expect(new Set(keyspaces.map(inboxTable)).size).toBe(keyspaces.length)
})
