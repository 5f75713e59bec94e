import { type FencedTable, fenceTriggers } from '../../../src/sharding/fence-sql.ts'
import { databases, type SlotState, slotStatement } from '../sharding-slots.ts'

/** The plain binding, and the slot whose routed database answers the same questions on the same rows. */
export const plain = databases.SHARD_000
export const SLOT = '00aa'

const fenced = (name: string, key: FencedTable['key'], columns: string[]): FencedTable => ({
  name,
  keyspace: 'users',
  key,
  columns,
  objects: [],
})

/**
 * Tables like those of applications. A sharded table may not have foreign keys or UNIQUE, but D1 allows both, so the
 * suite asks about both. The generator's fences capture the changes of a moving slot.
 */
const tables = [
  `CREATE TABLE items (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, n INTEGER CONSTRAINT small CHECK (n < 1000), r REAL,
    b BLOB, "1" TEXT, twice INTEGER AS (n * 2) VIRTUAL)`,
  'CREATE INDEX items_by_name ON items (name)',
  `CREATE TABLE parts (id TEXT PRIMARY KEY NOT NULL, item_id TEXT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    label TEXT, UNIQUE (item_id, label))`,
  'CREATE INDEX parts_by_item ON parts (item_id)',
  'CREATE TABLE notes (id TEXT PRIMARY KEY NOT NULL, item_id TEXT, text TEXT)',
  'CREATE TABLE pairs (a TEXT NOT NULL, b TEXT NOT NULL, v, PRIMARY KEY (a, b)) WITHOUT ROWID',
  "CREATE TABLE serials (id INTEGER PRIMARY KEY, label DEFAULT 'none')",
  'CREATE TABLE strict_values (id INTEGER PRIMARY KEY, i INTEGER, t TEXT) STRICT',
  `CREATE TABLE modes (id TEXT PRIMARY KEY NOT NULL, at INTEGER, at_ms INTEGER, yes INTEGER, doc TEXT, raw BLOB, big BLOB,
    blob_doc BLOB, ratio REAL)`,
  'CREATE VIEW item_view AS SELECT id, name, n FROM items',
  `CREATE TRIGGER item_view_insert INSTEAD OF INSERT ON item_view BEGIN
    INSERT INTO items (id, name, n) VALUES (NEW.id, NEW.name, NEW.n); END`,
  `CREATE TRIGGER items_noted AFTER INSERT ON items WHEN NEW.name = 'noted' BEGIN
    INSERT INTO notes VALUES (NEW.id || '-note', NEW.id, NEW.name); END`,
  `CREATE TRIGGER items_renamed AFTER UPDATE OF name ON items WHEN NEW.name IS NOT OLD.name BEGIN
    INSERT INTO notes VALUES (NEW.id || '-' || NEW.name, NEW.id, OLD.name);
    UPDATE parts SET label = label || '!' WHERE item_id = NEW.id; END`,
  `CREATE TRIGGER items_refused BEFORE INSERT ON items WHEN NEW.n < 0 BEGIN
    SELECT RAISE(ABORT, 'OUT_OF_STOCK') WHERE NEW.n = -1;
    SELECT RAISE(ABORT, 'sold out: "none" left; try again') WHERE NEW.n = -2;
    SELECT RAISE(FAIL, 'FAILED_HALFWAY') WHERE NEW.n = -3;
    SELECT RAISE(IGNORE) WHERE NEW.n = -4; END`,
]
const fences = [
  fenced('items', ['id'], ['id', 'name', 'n', 'r', 'b', '1']),
  fenced('parts', ['id'], ['id', 'item_id', 'label']),
  fenced('notes', ['id'], ['id', 'item_id', 'text']),
  fenced('pairs', ['a', 'b'], ['a', 'b', 'v']),
  fenced('modes', ['id'], ['id', 'at', 'at_ms', 'yes', 'doc', 'raw', 'big', 'blob_doc', 'ratio']),
].flatMap(fenceTriggers)

/** Call once per test file, because each has its own storage. */
export async function createTables(): Promise<void> {
  await plain.batch([...tables, ...fences.map(({ sql }) => sql)].map((sql) => plain.prepare(sql)))
}

const listed = (table: string, columns: string[]) =>
  `SELECT '${table}: ' || ${columns.map((column) => `quote(${column})`).join(" || ', ' || ")} AS row FROM ${table}`

/** All rows of the fixture's tables, and the names in its schema: everything that a question may change. */
const contents = `SELECT row FROM (${[
  listed('items', ['rowid', 'id', 'name', 'n', 'r', 'b', '"1"']),
  listed('parts', ['id', 'item_id', 'label']),
  listed('notes', ['id', 'item_id', 'text']),
  listed('serials', ['id', 'label']),
].join(' UNION ALL ')}) UNION ALL SELECT row FROM (${[
  listed('pairs', ['a', 'b', 'v']),
  listed('strict_values', ['id', 'i', 't']),
  listed('modes', ['id', 'at', 'at_ms', 'yes', 'doc', 'raw', 'big', 'blob_doc', 'ratio']),
  "SELECT 'schema: ' || coalesce(sql, name) FROM sqlite_schema WHERE name LIKE 'made%' OR sql LIKE '%added%'",
].join(' UNION ALL ')}) ORDER BY row`

const rows = [
  'DROP TABLE IF EXISTS made',
  'DROP VIEW IF EXISTS made_view',
  'DROP INDEX IF EXISTS made_index',
  'DROP TABLE IF EXISTS __drizzle_migrations',
  'DELETE FROM parts',
  'DELETE FROM items',
  'DELETE FROM notes',
  'DELETE FROM pairs',
  'DELETE FROM strict_values',
  'DELETE FROM modes',
  'DELETE FROM serials',
  'DELETE FROM slot_changes',
  `INSERT INTO items (rowid, id, name, n, r, b, "1") VALUES (11, '00aa-a', 'apple', 1, 0.5, x'00ff', 'one'),
    (12, '00aa-b', 'berry', 2, -1.25, NULL, NULL), (13, '00aa-c', 'cherry; wild', NULL, 3.0, x'', 'three')`,
  `INSERT INTO parts VALUES ('00aa-a1', '00aa-a', 'stem'), ('00aa-a2', '00aa-a', 'skin'), ('00aa-b1', '00aa-b', 'seed')`,
  "INSERT INTO notes VALUES ('00aa-n', '00aa-a', 'first')",
  "INSERT INTO pairs VALUES ('00aa-x', 'y', 1), ('00aa-x', 'z', 'two')",
  "INSERT INTO strict_values VALUES (1, 2, 'three')",
  "INSERT INTO serials VALUES (1, 'first'), (2, NULL), (7, 'seventh')",
]

/** Restores the rows, with the slot in this state. Returns the rows that the previous question left. */
export async function restored(state: SlotState = 'active'): Promise<string[]> {
  const [left] = await plain.batch<{ row: string }>([
    plain.prepare(contents),
    slotStatement(plain, 'users', SLOT, 'active'),
    ...rows.map((sql) => plain.prepare(sql)),
    ...(state === 'active' ? [] : [slotStatement(plain, 'users', SLOT, state)]),
  ])
  return left!.results.map(({ row }) => row)
}
