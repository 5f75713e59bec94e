import { beforeAll, expect, test } from 'vitest'
import { systemRandom } from '../../../src/core/random.ts'
import { replicated } from '../../support/replicated-database.ts'
import { ManualClock } from '../../support/sharding-doubles.ts'
import { databases } from '../../support/sharding-slots.ts'

const { SHARD_000: one, SHARD_001: other } = databases
const INSERT = 'INSERT INTO double_rows (text, data) VALUES (?, ?) RETURNING id'
const ROWS = 'SELECT * FROM double_rows ORDER BY id'

beforeAll(async () => {
  for (const database of [one, other])
    await database.batch([
      database.prepare('CREATE TABLE double_rows (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT, data BLOB)'),
      database.prepare(
        "CREATE TRIGGER double_marks AFTER INSERT ON double_rows WHEN NEW.text = 'mark' BEGIN UPDATE double_rows SET text = text || id; END",
      ),
    ])
})

test('over the runtime’s D1, concurrent writes are replayed in their order, and a promotion rebuilds what is ahead', async () => {
  const clock = new ManualClock()
  const lag = { ms: 1_000 }
  const options = { clock, random: systemRandom, lagMs: () => lag.ms }
  const database = replicated(one, [other], options)
  const insert = (text: string, data: Uint8Array | null = null) => database.prepare(INSERT).bind(text, data)
  const rows = async (start: string) => {
    const { results, meta } = await database.withSession(start).prepare(ROWS).all()
    return { results, isPrimary: meta.served_by_primary }
  }

  await Promise.all(Array.from({ length: 20 }, (_, n) => insert(`row ${n}`, Uint8Array.from([n, 0, 255])).run()))
  await database.batch([insert('mark'), database.prepare("DELETE FROM double_rows WHERE text = 'row 7'")])
  await insert('by raw').raw()
  await database.prepare("UPDATE double_rows SET text = 'nothing' WHERE id = 0").run()
  expect(database.replication.log).toHaveLength(22)
  expect(await rows('first-unconstrained')).toEqual({ results: [], isPrimary: false })

  clock.advance(1_000)
  const exact = await rows('first-primary')
  expect(exact.isPrimary).toBe(true)
  expect(await rows('first-unconstrained')).toEqual({ results: exact.results, isPrimary: false })
  const own = database.withSession('first-primary')
  expect(await own.prepare(INSERT).bind('last', null).first('id')).toBe(23)
  expect(own.getBookmark()).toMatch(/^00000000-00000017-/)
})

test('over the runtime’s D1, a replica that is ahead of the promoted one is rebuilt with its triggers and counters', async () => {
  for (const database of [one, other]) await database.prepare('DELETE FROM double_rows').run()
  // There are two databases, so the promoted replica has the primary's.
  const lags = [0, 60_000, 0]
  const database = replicated(one, [one, other], {
    clock: new ManualClock(),
    random: systemRandom,
    lagMs: (replica) => lags[replica]!,
    choose: (members) => members.at(-1)!,
  })
  await database
    .prepare(INSERT)
    .bind('mark', Uint8Array.from([0, 39, 255]))
    .run()
  await database.withSession().prepare(ROWS).all()
  await other.prepare('UPDATE sqlite_sequence SET seq = 500').run()
  const { replication } = database
  expect(await replication.promote(replication.replicas[0]!)).toHaveLength(1)
  for (const sql of [
    ROWS,
    'SELECT * FROM sqlite_sequence ORDER BY name',
    'SELECT name, sql FROM sqlite_master ORDER BY name',
  ])
    expect(await other.prepare(sql).raw()).toEqual(await one.prepare(sql).raw())
  expect(await other.prepare(ROWS).raw()).toHaveLength(1)
})
