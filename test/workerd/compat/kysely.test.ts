import { type Generated, Kysely, sql } from 'kysely'
import { D1Dialect } from 'kysely-d1'
import { beforeAll, expect, test } from 'vitest'
import { expectSameAnswers, type Question, ways } from '../../support/compat/comparison.ts'
import { createTables, plain, restored } from '../../support/compat/fixture.ts'
import { freeQuestion } from '../../support/compat/raw-api.ts'
import { rejectionOf } from '../../support/sharding-slots.ts'

beforeAll(createTables)

interface Tables {
  items: {
    id: string
    name: string
    n: number | null
    r: number | null
    b: ArrayBuffer | number[] | null
    twice: Generated<number>
  }
  parts: { id: string; item_id: string; label: string | null }
  serials: { id: Generated<number>; label: string | null }
}
type Database = Kysely<Tables>

const on = (database: D1Database): Database => new Kysely<Tables>({ dialect: new D1Dialect({ database }) })

const asked = (changesRows: boolean, questions: Record<string, (db: Database) => unknown>): Question[] =>
  Object.entries(questions).map(([name, ask]) => freeQuestion(name, (database) => ask(on(database)), changesRows))

const date = { id: '00aa-d', name: 'date', n: 4, r: 0.25, b: [1, 0, 255] }

const reads: Record<string, (db: Database) => unknown> = {
  selectAll: (db) => db.selectFrom('items').selectAll().orderBy('id').execute(),
  'select of no row': (db) => db.selectFrom('items').selectAll().where('id', '=', 'none').execute(),
  executeTakeFirst: (db) => db.selectFrom('items').select(['id', 'b']).orderBy('id').executeTakeFirst(),
  'executeTakeFirst of no row': (db) => db.selectFrom('items').select('id').where('n', '>', 99).executeTakeFirst(),
  'executeTakeFirstOrThrow of no row': (db) =>
    db.selectFrom('items').select('id').where('n', '>', 99).executeTakeFirstOrThrow(),
  'aliases and expressions': (db) =>
    db
      .selectFrom('items')
      .select((eb) => ['id', 'id as key', 'twice', eb.fn.coalesce('n', eb.lit(0)).as('n'), eb.lit(1).as('1')])
      .orderBy('id')
      .execute(),
  'a join': (db) =>
    db
      .selectFrom('items')
      .innerJoin('parts', 'parts.item_id', 'items.id')
      .select(['items.id', 'parts.id as part', 'label', 'name'])
      .orderBy('parts.id')
      .execute(),
  'a join of all columns': (db) =>
    db
      .selectFrom('items')
      .leftJoin('parts', 'parts.item_id', 'items.id')
      .selectAll()
      .orderBy('items.id')
      .orderBy('parts.id')
      .execute(),
  'a join with group_concat': (db) =>
    db
      .selectFrom('items')
      .innerJoin('parts', 'parts.item_id', 'items.id')
      .select(['items.id', sql<string>`group_concat(label, '; ')`.as('labels')])
      .groupBy('items.id')
      .orderBy('items.id')
      .execute(),
  'a count': (db) =>
    db
      .selectFrom('items')
      .select((eb) => eb.fn.countAll<number>().as('n'))
      .executeTakeFirstOrThrow(),
  'a CTE': (db) =>
    db
      .with('some', (cte) => cte.selectFrom('items').select(['id', sql<string>`replace(name, 'a', 'A')`.as('name')]))
      .selectFrom('some')
      .innerJoin('items', 'items.id', 'some.id')
      .select(['some.id', 'items.id as again', 'some.name', 'items.name as original'])
      .orderBy('items.id')
      .execute(),
  'a recursive CTE': (db) =>
    db
      .withRecursive('ns(n)', (cte) =>
        cte
          .selectFrom('serials')
          .select(sql<number>`1`.as('n'))
          .where('id', '=', 1)
          .unionAll(cte.selectFrom('ns').select(sql<number>`n + 1`.as('n')).where('n', '<', 4)),
      )
      .selectFrom('ns')
      .selectAll()
      .execute(),
  'a union': (db) =>
    db.selectFrom('items').select('id').unionAll(db.selectFrom('parts').select('id')).orderBy('id', 'desc').execute(),
  'sql``': (db) => sql`SELECT id, ${'x; y'} AS t, 1 FROM items ORDER BY id`.execute(db),
  'sql`` of PRAGMA': (db) => sql`PRAGMA table_info(items)`.execute(db),
  'sql`` of VALUES': (db) => sql`VALUES (1, 2)`.execute(db),
  'the introspection of tables': async (db) =>
    (await db.introspection.getTables()).map(({ name, columns }) => [name, columns]),
  'an unknown column': (db) => sql`SELECT none FROM items`.execute(db),
  'an unknown table': (db) => sql`SELECT * FROM none`.execute(db),
}

const writes: Record<string, (db: Database) => unknown> = {
  insert: (db) => db.insertInto('items').values(date).execute(),
  'insert, returningAll': (db) => db.insertInto('items').values(date).returningAll().executeTakeFirstOrThrow(),
  'insert of several, returning': (db) =>
    db
      .insertInto('items')
      .values([date, { id: '00aa-e', name: 'noted' }])
      .returning(['id', 'id as key', sql<number>`1`.as('one'), 'n'])
      .execute(),
  'insert of default values': (db) => db.insertInto('serials').defaultValues().returning('id').execute(),
  'insert from select': (db) =>
    db
      .insertInto('serials')
      .columns(['label'])
      .expression((eb) => eb.selectFrom('items').select('name').where('n', 'is not', null))
      .execute(),
  'onConflict, an update': (db) =>
    db
      .insertInto('items')
      .values({ ...date, id: '00aa-a' })
      .onConflict((conflict) => conflict.column('id').doUpdateSet((eb) => ({ n: eb('items.n', '+', 10) })))
      .returning(['id', 'n'])
      .execute(),
  'onConflict, nothing': (db) =>
    db
      .insertInto('items')
      .values({ ...date, id: '00aa-a' })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirst(),
  update: (db) => db.updateTable('items').set({ n: 9 }).where('id', '=', '00aa-a').execute(),
  'update, returning': (db) =>
    db
      .updateTable('items')
      .set((eb) => ({ n: eb('n', '+', 1) }))
      .returning(['id', 'n', 'id as again'])
      .execute(),
  'update of no row': (db) => db.updateTable('items').set({ n: 9 }).where('id', '=', 'none').executeTakeFirst(),
  'update with a trigger that writes': (db) => db.updateTable('items').set({ name: 'new' }).execute(),
  'update from': (db) =>
    db
      .updateTable('items')
      .from('parts')
      .set({ n: 50 })
      .whereRef('parts.item_id', '=', 'items.id')
      .where('label', '=', 'seed')
      .returning(['items.id'])
      .execute(),
  delete: (db) => db.deleteFrom('parts').where('id', '=', '00aa-b1').execute(),
  'delete, returning': (db) => db.deleteFrom('parts').returningAll().execute(),
  'delete with a cascade': (db) => db.deleteFrom('items').where('id', '=', '00aa-a').execute(),
  'a CTE and a delete': (db) =>
    db
      .with('some', (cte) => cte.selectFrom('parts').select('id').where('item_id', '=', '00aa-a'))
      .deleteFrom('parts')
      .where('id', 'in', (eb) => eb.selectFrom('some').select('some.id'))
      .returning(['id', 'label'])
      .execute(),
  'sql`` of a write': (db) => sql`UPDATE items SET n = ${3} RETURNING id, id`.execute(db),
  'the schema builder': async (db) => [
    await db.schema
      .createTable('made')
      .addColumn('id', 'text', (column) => column.primaryKey())
      .execute(),
    await db.schema.createIndex('made_index').on('made').column('id').execute(),
    await db.schema.dropTable('made').execute(),
  ],
  'a violated constraint': (db) =>
    db
      .insertInto('items')
      .values({ ...date, id: '00aa-a' })
      .execute(),
  'a refusal of a trigger': (db) =>
    db
      .insertInto('items')
      .values({ ...date, n: -2 })
      .returningAll()
      .execute(),
}

test('reads', () => expectSameAnswers(asked(false, reads), 'every'))
test('writes', () => expectSameAnswers(asked(true, writes), 'every'))

test.each([['D1', plain], ...ways] as const)(
  'transaction() is refused, and changes nothing: %s',
  async (_, database) => {
    const rows = await restored().then(() => restored())
    const transaction = on(database)
      .transaction()
      .execute(async (tx) => tx.updateTable('items').set({ n: 1 }).execute())
    expect((await rejectionOf(transaction)).message).toBe('Transactions are not supported yet.')
    expect(await restored()).toEqual(rows)
  },
)
