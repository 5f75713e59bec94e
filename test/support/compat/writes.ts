import type { Statement } from './raw-api.ts'

/** Without RETURNING. */
const plainWrites: Record<string, Statement> = {
  'insert of one row': {
    sql: 'INSERT INTO items (id, name, n, b) VALUES (?, ?, ?, ?)',
    values: ['00aa-d', 'date', 4, new Uint8Array([1, 0, 255])],
  },
  'insert of three rows': { sql: "INSERT INTO serials (label) VALUES ('x'), ('y; z'), (NULL)" },
  'insert from SELECT': { sql: "INSERT INTO items (id, name, n) SELECT id || '2', name, n FROM items WHERE n > 0" },
  'insert from WITH': { sql: "WITH p (v) AS (VALUES ('x'), ('y')) INSERT INTO serials (label) SELECT v FROM p" },
  'insert of default values': { sql: 'INSERT INTO serials DEFAULT VALUES' },
  'upsert of a new row': {
    sql: "INSERT INTO items (id, name, n) VALUES ('00aa-d', 'd', 1) ON CONFLICT (id) DO UPDATE SET n = excluded.n + 10",
  },
  'upsert of a row': {
    sql: "INSERT INTO items (id, name, n) VALUES ('00aa-a', 'd', 1), ('00aa-d', 'd', 1) ON CONFLICT (id) DO UPDATE SET n = excluded.n + 10",
  },
  'conflict that does nothing': { sql: "INSERT INTO items (id, name) VALUES ('00aa-a', 'd') ON CONFLICT DO NOTHING" },
  'update of every row': { sql: 'UPDATE items SET r = coalesce(n, 0) + 0.5' },
  'update of one row': {
    sql: 'UPDATE items SET n = ?, b = ? WHERE id = ?',
    values: [9, new Uint8Array([7]).buffer, '00aa-b'],
  },
  'update from another table': {
    sql: "UPDATE items SET n = 50 FROM parts WHERE parts.item_id = items.id AND parts.label = 'seed'",
  },
  'update with WITH': {
    sql: 'WITH p AS (SELECT id FROM items WHERE n = 1) UPDATE items SET n = 5 WHERE id IN (SELECT id FROM p)',
  },
  'delete of every row': { sql: 'DELETE FROM serials' },
  'delete of one row': { sql: 'DELETE FROM parts WHERE id = ?', values: ['00aa-b1'] },
  'delete with WITH': { sql: "WITH p AS (SELECT '00aa-b1' AS id) DELETE FROM parts WHERE id IN (SELECT id FROM p)" },
}

const returning: Record<string, string> = {
  'a column': 'RETURNING id',
  'a column twice': 'RETURNING id, id, rowid',
  'a number': 'RETURNING id, 1, rowid, 0',
  'every column': 'RETURNING *',
  'every column, and one again': 'returning *, id',
  'an expression': 'RETURNING id || \'; \' || rowid, "id" AS [x y], (SELECT count(*) FROM parts) AS parts -- all',
}

/** A table with its own rowid, so that each form of RETURNING fits each write. */
export const writes: Record<string, Statement> = Object.fromEntries(
  Object.entries(plainWrites).flatMap(([name, statement]) => [
    [name, statement],
    ...Object.entries(returning).map(([what, clause]) => [
      `${name}, returning ${what}`,
      { ...statement, sql: `${statement.sql} ${clause}` },
    ]),
  ]),
) as Record<string, Statement>

/** Writes that change more than they name, or that need a check of their own. */
export const unusualWrites: Record<string, Statement> = {
  'update of no row': { sql: "UPDATE items SET n = 1 WHERE id = 'none'" },
  'update of no row, returning': { sql: 'UPDATE items SET n = 1 WHERE 0 RETURNING id, name, id' },
  'delete of no row, returning every column': { sql: 'DELETE FROM items WHERE 0 RETURNING *' },
  'conflict that does nothing, returning': {
    sql: "INSERT INTO items (id, name) VALUES ('00aa-a', 'd') ON CONFLICT DO NOTHING RETURNING id, 1",
  },
  'a trigger that inserts': { sql: "INSERT INTO items (id, name) VALUES ('00aa-d', 'noted')" },
  'a trigger that inserts, returning': {
    sql: "INSERT INTO items (id, name) VALUES ('00aa-d', 'noted'), ('00aa-e', 'not') RETURNING id, id",
  },
  'a trigger that inserts and updates': { sql: "UPDATE items SET name = name || '2'" },
  'a trigger that inserts and updates, returning': {
    sql: "UPDATE items SET name = 'new' WHERE id = '00aa-a' RETURNING name, 7, id",
  },
  'a cascade': { sql: "DELETE FROM items WHERE id = '00aa-a'" },
  'a cascade, returning': { sql: 'DELETE FROM items RETURNING id, name, id' },
  'insert into a view': { sql: "INSERT INTO item_view VALUES ('00aa-v', 'noted', 3)" },
  'a trigger that ignores the row': {
    sql: "INSERT INTO items (id, name, n) VALUES ('00aa-d', 'd', -4), ('00aa-e', 'e', 4) RETURNING id",
  },
  'a table without rowid': { sql: "INSERT INTO pairs VALUES ('00aa-x', 'w', x'01') RETURNING *, b, v", column: 'v' },
  'update of a table without rowid': { sql: "UPDATE pairs SET v = v || '!' RETURNING v, a, b, v", column: 'v' },
  'a replaced row': { sql: "REPLACE INTO serials (id, label) VALUES (1, 'again'), (9, 'new')" },
  'a replaced row, returning': { sql: "INSERT OR IGNORE INTO serials VALUES (1, 'no'), (8, 'yes') RETURNING *, id" },
  'returning a generated column': {
    sql: 'UPDATE items SET n = 4 RETURNING twice, id, n * 2 AS twice',
    column: 'twice',
  },
  'returning names that differ in case': { sql: 'UPDATE items SET n = 4 RETURNING id AS A, name AS a', column: 'a' },
  'returning values of each type': {
    sql: "UPDATE items SET b = x'0102', r = -0.0 WHERE id = '00aa-a' RETURNING b, r, NULL, 9223372036854775807, n",
    column: 'b',
  },
  'returning in a literal': {
    sql: "UPDATE items SET name = 'returning id, id' WHERE id = '00aa-b' RETURNING name, 'returning', name",
    column: 'name',
  },
  'returning in a comment': { sql: 'UPDATE items SET n = 3 -- RETURNING id\n/* returning 1 */' },
  'returning in a name': {
    sql: 'UPDATE items SET n = 3 RETURNING id AS "returning", n AS "x; y", id AS "RETURNING"',
    column: 'returning',
  },
  'returning, a comma in brackets': {
    sql: 'UPDATE items SET n = 3 RETURNING coalesce(r, 1, 2), max(1, 2), id, (\'a,b\'), "1"',
    column: '1',
  },
  'returning, a CASE': {
    sql: "UPDATE items SET n = 3 RETURNING CASE WHEN id = '00aa-a' THEN 1 ELSE 2 END, CASE n WHEN 3 THEN id END AS c, id;",
    column: 'c',
  },
  'returning, a semicolon and a comment': { sql: 'DELETE FROM serials RETURNING id, label, id; -- done' },
  'returning, two semicolons': { sql: 'DELETE FROM serials RETURNING id, label, id;;' },
  'returning, a comment that never ends': { sql: 'DELETE FROM serials RETURNING id, label, id /* done' },
  'a semicolon before': { sql: ';DELETE FROM serials' },
  'two writes in one text': { sql: 'DELETE FROM serials WHERE id = 1; /*#*/ UPDATE items SET n = 3' },
  'a write and a read in one text': { sql: 'DELETE FROM serials; /*#*/ SELECT id, id FROM items ORDER BY id' },
  'a read and a write in one text': { sql: 'SELECT id FROM items WHERE 0; /*#*/ DELETE FROM serials RETURNING id, id' },
  'two writes in one text, the second of no row': { sql: 'DELETE FROM serials; /*#*/ UPDATE items SET n = 3 WHERE 0' },
  'a new table': { sql: 'CREATE TABLE made (id TEXT PRIMARY KEY, v)' },
  'a new table if there is none': { sql: 'CREATE TABLE IF NOT EXISTS items (id TEXT)' },
  'a new table of rows': { sql: 'CREATE TABLE made AS SELECT id, id, name, 1 FROM items' },
  'a new index': { sql: 'CREATE INDEX made_index ON items (r)' },
  'a new view': { sql: 'CREATE VIEW made_view AS SELECT id, id FROM items' },
  'no table to drop': { sql: 'DROP TABLE IF EXISTS made' },
  'PRAGMA defer_foreign_keys': { sql: 'PRAGMA defer_foreign_keys = on' },
  'a new table, used at once': {
    sql: 'CREATE TABLE made (id); /*#*/ INSERT INTO made VALUES (1), (2); SELECT id, id FROM made',
  },
}
