import { mkdirSync, writeFileSync } from 'node:fs'
import { asc, count, desc, eq, exists, getTableColumns, gt, inArray, relations, sql } from 'drizzle-orm'
import { type DrizzleD1Database, drizzle } from 'drizzle-orm/d1'
import { migrate } from 'drizzle-orm/d1/migrator'
import { alias, blob, integer, real, sqliteTable, text, unionAll } from 'drizzle-orm/sqlite-core'
import { beforeAll, expect, test } from 'vitest'
import { expectSameAnswers, type Question, ways } from '../../support/compat/comparison.ts'
import { createTables, plain, restored } from '../../support/compat/fixture.ts'
import { freeQuestion } from '../../support/compat/raw-api.ts'
import { rejectionOf } from '../../support/sharding-slots.ts'

beforeAll(createTables)

const items = sqliteTable('items', {
  id: text().primaryKey(),
  name: text().notNull(),
  n: integer(),
  ratio: real('r'),
  b: blob({ mode: 'buffer' }),
})
const parts = sqliteTable('parts', {
  id: text().primaryKey(),
  itemId: text('item_id').notNull(),
  label: text(),
})
const modes = sqliteTable('modes', {
  id: text().primaryKey(),
  at: integer({ mode: 'timestamp' }),
  atMs: integer('at_ms', { mode: 'timestamp_ms' }),
  yes: integer({ mode: 'boolean' }),
  doc: text({ mode: 'json' }).$type<object>(),
  raw: blob({ mode: 'buffer' }),
  big: blob({ mode: 'bigint' }),
  blobDoc: blob('blob_doc', { mode: 'json' }).$type<object>(),
  ratio: real(),
})
const itemRelations = relations(items, ({ many }) => ({ parts: many(parts) }))
const partRelations = relations(parts, ({ one }) => ({
  item: one(items, { fields: [parts.itemId], references: [items.id] }),
}))
const schema = { items, parts, modes, itemRelations, partRelations }

type Database = DrizzleD1Database<typeof schema>

const asked = (changesRows: boolean, questions: Record<string, (db: Database) => unknown>): Question[] =>
  Object.entries(questions).map(([name, ask]) =>
    freeQuestion(name, (database) => ask(drizzle(database, { schema })), changesRows),
  )

const date = { id: '00aa-d', name: 'date', n: 4, ratio: 0.25, b: Buffer.from([1, 0, 255]) }
const full = {
  id: '00aa-m',
  at: new Date(1_700_000_000_000),
  atMs: new Date(1_700_000_000_123),
  yes: true,
  doc: { a: [1, '🌳', null] },
  raw: Buffer.from([0, 255]),
  big: 2n ** 80n,
  blobDoc: { b: 'é' },
  ratio: 0.1,
}
const { id: _, ...nullable } = full
const empty = { id: '00aa-n', ...Object.fromEntries(Object.keys(nullable).map((name) => [name, null])) }

const reads: Record<string, (db: Database) => unknown> = {
  'select()': (db) => db.select().from(items).orderBy(asc(items.id)),
  'select() of no row': (db) => db.select().from(items).where(eq(items.id, 'none')),
  'get()': (db) => db.select().from(items).where(eq(items.id, '00aa-b')).get(),
  'get() of no row': (db) => db.select().from(items).where(eq(items.id, 'none')).get(),
  'values()': (db) => db.select({ id: items.id, again: items.id, n: items.n }).from(items).orderBy(items.id).values(),
  'run() of a read': (db) => db.run(sql`SELECT id, id FROM items ORDER BY id`),
  'all(sql)': (db) => db.all(sql`SELECT id, 1 FROM items ORDER BY id`),
  'get(sql)': (db) => db.get(sql`SELECT id, ${'x; y'} AS t FROM items ORDER BY id`),
  'values(sql)': (db) => db.values(sql`SELECT id, 2, 1, id FROM items ORDER BY id`),
  'values(sql) of PRAGMA': (db) => db.values(sql`PRAGMA table_info(items)`),
  'values(sql) of VALUES': (db) => db.values(sql`VALUES (1, 2), (3, 4)`),
  'one column under two names': (db) =>
    db.select({ first: items.id, second: items.id, n: items.n }).from(items).orderBy(items.id),
  'literal numbers as columns': (db) =>
    db
      .select({ name: items.name, two: sql<number>`2`, id: items.id, one: sql<number>`1` })
      .from(items)
      .orderBy(items.id),
  'a nested selection': (db) =>
    db
      .select({ item: getTableColumns(items), label: { text: parts.label, id: parts.id } })
      .from(items)
      .innerJoin(parts, eq(parts.itemId, items.id))
      .orderBy(parts.id),
  'an inner join': (db) => db.select().from(items).innerJoin(parts, eq(parts.itemId, items.id)).orderBy(parts.id),
  'a left join': (db) =>
    db.select().from(items).leftJoin(parts, eq(parts.itemId, items.id)).orderBy(items.id, parts.id),
  'a join with itself': (db) => {
    const other = alias(items, 'other')
    return db.select().from(items).innerJoin(other, gt(other.id, items.id)).orderBy(items.id, other.id)
  },
  'a join with group_concat': (db) =>
    db
      .select({ id: items.id, part: parts.id, labels: sql<string>`group_concat(${parts.label}, '; ')`, n: count() })
      .from(items)
      .innerJoin(parts, eq(parts.itemId, items.id))
      .groupBy(items.id)
      .orderBy(items.id),
  'a union': (db) =>
    unionAll(
      db.select({ id: items.id, other: items.id }).from(items),
      db.select({ id: parts.id, other: parts.itemId }).from(parts),
    ).orderBy(desc(sql`1`)),
  'a subquery': (db) => {
    const counted = db
      .select({ id: parts.itemId, n: count().as('part_count') })
      .from(parts)
      .groupBy(parts.itemId)
      .as('counted')
    return db.select().from(items).leftJoin(counted, eq(counted.id, items.id)).orderBy(items.id)
  },
  exists: (db) =>
    db
      .select({ id: items.id })
      .from(items)
      .where(exists(db.select().from(parts).where(eq(parts.itemId, items.id))))
      .orderBy(items.id),
  $with: (db) => {
    const changed = db
      .$with('changed')
      .as(
        db.select({ id: items.id, name: sql<string>`replace(${items.name}, 'a', 'A')`.as('changed_name') }).from(items),
      )
    return db
      .with(changed)
      .select({ a: changed.id, b: items.id, c: changed.name, d: items.name })
      .from(changed)
      .innerJoin(items, eq(items.id, changed.id))
      .orderBy(items.id)
  },
  $count: (db) => db.$count(items, gt(items.n, 1)),
  '$count as a column': (db) =>
    db
      .select({ id: items.id, parts: db.$count(parts, eq(parts.itemId, items.id)) })
      .from(items)
      .orderBy(items.id),
  'a prepared statement': async (db) => {
    const prepared = db
      .select()
      .from(items)
      .where(eq(items.id, sql.placeholder('id')))
      .prepare()
    return [await prepared.get({ id: '00aa-a' }), await prepared.all({ id: '00aa-c' }), await prepared.all({ id: 'x' })]
  },
  'findMany with many': (db) =>
    db.query.items.findMany({ with: { parts: { orderBy: asc(parts.id) } }, orderBy: asc(items.id) }),
  'findMany with one': (db) =>
    db.query.parts.findMany({ with: { item: { columns: { name: true, n: true } } }, orderBy: asc(parts.id) }),
  'findFirst of columns': (db) =>
    db.query.items.findFirst({
      columns: { id: true },
      extras: { two: sql<number>`2`.as('two') },
      where: eq(items.id, '00aa-a'),
      with: { parts: true },
    }),
  'findFirst of no row': (db) => db.query.items.findFirst({ where: eq(items.id, 'none') }),
  'a batch of reads': (db) =>
    db.batch([
      db.select().from(items).orderBy(items.id),
      db.query.parts.findMany({ with: { item: { columns: { name: true, n: true } } } }),
      db.select({ n: count() }).from(parts),
    ]),
  '150 values': (db) =>
    db
      .select({ id: items.id })
      .from(items)
      .where(
        inArray(
          items.id,
          Array.from({ length: 150 }, (_, n) => `x${n}`),
        ),
      ),
  'an unknown column': (db) => db.select({ none: sql`none` }).from(items),
  'an unknown table': (db) => db.select().from(sqliteTable('none', { id: text() })),
}

const writes: Record<string, (db: Database) => unknown> = {
  'insert, returning': (db) => db.insert(items).values(date).returning(),
  'insert of several, returning one column twice': (db) =>
    db
      .insert(items)
      .values([date, { id: '00aa-e', name: 'noted' }])
      .returning({ id: items.id, key: items.id, one: sql<number>`1`, n: items.n }),
  'insert, run': (db) => db.insert(items).values(date),
  'insert, get': (db) => db.insert(items).values(date).returning({ id: items.id, again: items.id }).get(),
  'insert from select': (db) =>
    db
      .insert(parts)
      .select(
        db.select({ id: sql<string>`${items.id} || 'p'`.as('id'), itemId: items.id, label: items.name }).from(items),
      )
      .returning(),
  'insert of an unnamed default': (db) => db.insert(parts).values({ id: '00aa-p', itemId: '00aa-a' }).returning(),
  upsert: (db) =>
    db
      .insert(items)
      .values({ ...date, id: '00aa-a' })
      .onConflictDoUpdate({ target: items.id, set: { n: sql`${items.n} + 10` } })
      .returning({ id: items.id, key: sql<string>`${items.id}`, one: sql<number>`1`, n: items.n }),
  'a conflict that does nothing': (db) =>
    db
      .insert(items)
      .values({ ...date, id: '00aa-a' })
      .onConflictDoNothing()
      .returning(),
  'update, returning': (db) =>
    db
      .update(items)
      .set({ name: 'new', n: sql`${items.n} + 1` })
      .where(eq(items.id, '00aa-a'))
      .returning(),
  'update, returning one column twice': (db) =>
    db.update(items).set({ n: 5 }).returning({ first: items.id, second: items.id, n: items.n }),
  'update of no row': (db) => db.update(items).set({ n: 5 }).where(eq(items.id, 'none')),
  'update from': (db) =>
    db
      .update(items)
      .set({ n: 50 })
      .from(parts)
      .where(eq(parts.itemId, items.id))
      .returning({ id: items.id, n: items.n }),
  'delete, returning literal numbers': (db) =>
    db.delete(parts).returning({ label: parts.label, two: sql<number>`2`, id: parts.id, one: sql<number>`1` }),
  'delete with a cascade': (db) => db.delete(items).where(eq(items.id, '00aa-a')),
  'delete of no row, returning': (db) => db.delete(items).where(eq(items.id, 'none')).returning(),
  '$with and update': (db) => {
    const some = db.$with('some').as(db.select({ id: items.id }).from(items).where(gt(items.n, 1)))
    return db
      .with(some)
      .update(items)
      .set({ n: 6 })
      .where(inArray(items.id, db.select({ id: some.id }).from(some)))
      .returning({ a: items.id, b: items.id })
  },
  'modes of columns': async (db) => [
    await db.insert(modes).values([full, empty]).returning(),
    await db.select().from(modes).orderBy(modes.id),
    await db.query.modes.findMany({ orderBy: asc(modes.id) }),
    await db.batch([db.select().from(modes).orderBy(modes.id)]),
    await db
      .update(modes)
      .set({ yes: false, doc: null, big: -1n })
      .returning({ yes: modes.yes, doc: modes.doc, big: modes.big }),
  ],
  'a batch of reads and writes': (db) =>
    db.batch([
      db.select({ n: count() }).from(items),
      db.insert(items).values(date).returning(),
      db.update(items).set({ n: 1 }).returning({ id: items.id, n: items.n }),
      db.delete(parts).where(eq(parts.id, '00aa-a1')),
      db.run(sql`UPDATE items SET n = 2`),
      db.query.items.findMany({ with: { parts: true }, orderBy: asc(items.id) }),
    ]),
  'a batch with a violated constraint': (db) =>
    db.batch([db.update(items).set({ n: 1 }), db.insert(items).values({ ...date, id: '00aa-a' })]),
  'a violated constraint': (db) => db.insert(items).values({ ...date, n: 1_000 }),
  'a refusal of a trigger': (db) =>
    db
      .insert(items)
      .values({ ...date, n: -1 })
      .returning(),
}

test('reads', () => expectSameAnswers(asked(false, reads), 'every'))
test('writes', () => expectSameAnswers(asked(true, writes), 'every'))

const migrationsFolder = '/tmp/migrations'
const journal = (...tags: string[]) =>
  writeFileSync(
    `${migrationsFolder}/meta/_journal.json`,
    JSON.stringify({
      version: '7',
      dialect: 'sqlite',
      entries: tags.map((tag, idx) => ({ idx, version: '6', when: 1_700_000_000_000 + idx, tag, breakpoints: true })),
    }),
  )

test('the migrator', async () => {
  mkdirSync(`${migrationsFolder}/meta`, { recursive: true })
  writeFileSync(
    `${migrationsFolder}/0000_made.sql`,
    "CREATE TABLE made (id TEXT PRIMARY KEY, v);\n--> statement-breakpoint\n-- a row\nINSERT INTO made VALUES ('a', 1);",
  )
  writeFileSync(`${migrationsFolder}/0001_added.sql`, 'ALTER TABLE made ADD COLUMN added INTEGER DEFAULT 7;')
  writeFileSync(
    `${migrationsFolder}/0002_wrong.sql`,
    "INSERT INTO made VALUES ('b', 1, 2);\n--> statement-breakpoint\nSELECT FROM;",
  )
  const migrated = async (db: Database) => {
    const made = () => db.values(sql`SELECT *, id FROM made`)
    const done = () => db.values(sql`SELECT id, created_at FROM __drizzle_migrations`)
    journal('0000_made')
    const answers = [await migrate(db, { migrationsFolder }), await made()]
    journal('0000_made', '0001_added')
    answers.push(
      await migrate(db, { migrationsFolder }),
      await migrate(db, { migrationsFolder }),
      await made(),
      await done(),
    )
    journal('0000_made', '0001_added', '0002_wrong')
    const error = await rejectionOf(migrate(db, { migrationsFolder }))
    return [...answers, error.message.replace(/^.*params:/s, ''), await made(), await done()]
  }
  await expectSameAnswers(asked(true, { 'the migrator, three times': migrated }), 'every')
})

test.each([['D1', plain], ...ways] as const)(
  'transaction() is refused, and changes nothing: %s',
  async (_, database) => {
    const rows = await restored().then(() => restored())
    const transaction = drizzle(database, { schema }).transaction(async (tx) => {
      await tx.update(items).set({ n: 1 })
    })
    const error = await rejectionOf(transaction)
    expect((error.cause as Error).message).toMatch(/^D1_ERROR: To execute a transaction, please use /)
    expect(await restored()).toEqual(rows)
  },
)

test('transaction() is refused with D1’s own message', () =>
  expectSameAnswers(
    asked(false, { transaction: (db) => db.transaction(async (tx) => tx.select().from(items)) }),
    'every',
  ))
