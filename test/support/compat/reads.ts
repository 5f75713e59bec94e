import type { Statement } from './raw-api.ts'

const one = (sql: string, column?: string): Statement => (column === undefined ? { sql } : { sql, column })
const with_ = (sql: string, values: unknown[], column?: string): Statement => ({ ...one(sql, column), values })

/** Statements that change nothing, by the shape of their answer or by their form. */
export const reads: Record<string, Statement> = {
  // ── the shape of the answer ──
  'a table': one('SELECT * FROM items ORDER BY id'),
  'one row': with_('SELECT id, name FROM items WHERE id = ?', ['00aa-b'], 'name'),
  'no row': one('SELECT id, name FROM items WHERE 0'),
  'a value that is NULL': one("SELECT id, n FROM items WHERE id = '00aa-c'", 'n'),
  'the rowid': one('SELECT rowid, id FROM items ORDER BY rowid', 'rowid'),
  'the rowid of an integer key': one('SELECT rowid, id, oid FROM serials ORDER BY rowid'),
  'a column twice': one('SELECT id, id, name FROM items ORDER BY id'),
  'two columns of one name': one('SELECT id AS a, name AS a, n FROM items ORDER BY id', 'a'),
  'columns of one name, of no row': one('SELECT id, id FROM items WHERE 0'),
  'numbers as columns': one('SELECT name, 2, n, 1 FROM items ORDER BY id', '1'),
  'numbers as columns, of no row': one('SELECT name, 2, n, 1 FROM items WHERE 0', '1'),
  'a column named by a number': one('SELECT name, "1", id FROM items ORDER BY id', '1'),
  'names that differ in case': one('SELECT id AS A, name AS a, n AS "Ä", r AS "ä" FROM items ORDER BY id', 'a'),
  'names like those that SQLite makes of equal ones': one('SELECT id AS "id:1", id, id FROM items ORDER BY id', 'id:1'),
  'names of expressions': one('SELECT count(*), max(n) + 1, upper( name ), "n"|| \'x\' FROM items', 'count(*)'),
  'names that JavaScript knows': one('SELECT 1 AS constructor, 2 AS toString, 3 AS length, 4 AS __proto__', 'length'),
  'a name of no letter': one('SELECT 1 AS "", 2 AS " ", 3 AS "🌳 é", 4 AS "a""b", 5 AS "a;b--c"', ''),
  'a hundred columns': one(`SELECT ${Array.from({ length: 100 }, (_, n) => `${n} AS c${n}`).join(', ')}`, 'c99'),
  'a join': one('SELECT i.id, p.id, i.name, label FROM items i JOIN parts p ON p.item_id = i.id ORDER BY p.id'),
  'a join of all columns': one('SELECT * FROM items JOIN parts ON item_id = items.id ORDER BY parts.id'),
  'a join of all columns of one': one(
    'SELECT parts.*, items.id FROM items LEFT JOIN parts ON item_id = items.id ORDER BY 1, 4',
  ),
  'a join with group_concat': one(
    "SELECT i.id, p.id, group_concat(p.label, '; ') AS labels FROM items i JOIN parts p ON p.item_id = i.id GROUP BY i.id",
    'labels',
  ),
  'values of each type': one(
    "SELECT NULL AS n, 1 AS i, -1.5 AS r, 'é🌳' AS t, x'00ff' AS b, x'' AS e, 1e300 AS big, -0.0 AS zero",
    'b',
  ),
  'numbers beyond 2^53': one('SELECT 9223372036854775807 AS id, 9007199254740993 AS n, -9223372036854775808 AS m'),
  'a text with NUL': one("SELECT char(97, 0, 98) AS id, length(char(97, 0, 98)) AS n, 'x' || char(55357) AS s"),
  'infinity and no number': one('SELECT 9e999 AS id, -9e999 AS m, 9e999 - 9e999 AS n'),
  'a generated column': one('SELECT id, twice FROM items ORDER BY twice DESC', 'twice'),
  // ── the class of the statement ──
  'a view': one('SELECT * FROM item_view ORDER BY id'),
  compound: one('SELECT id, 1 AS n FROM items UNION ALL SELECT id, 2 FROM parts ORDER BY n DESC, id'),
  'compound, of other names': one('SELECT id AS id FROM items EXCEPT SELECT item_id FROM parts'),
  VALUES: one("VALUES (1, 'a'), (2, NULL)", 'column2'),
  'VALUES, bound': with_('VALUES (?, ?), (?, 4)', ['a', null, true], 'column1'),
  WITH: one('WITH p AS (SELECT id, n FROM items) SELECT id FROM p ORDER BY n DESC LIMIT 1'),
  'WITH, that uses replace()': one(
    "WITH p AS (SELECT id, replace(name, 'a', 'A') AS name FROM items) SELECT p.id, i.id, p.name, i.name FROM p JOIN items i ON i.id = p.id ORDER BY 1",
  ),
  'WITH, of tables named by keywords': one(
    'WITH "update" AS (SELECT 1 AS id), [delete] AS (SELECT 2 AS id), `insert` AS (SELECT 3 AS id) SELECT * FROM "update", [delete], `insert`',
  ),
  'WITH RECURSIVE': one(
    'WITH RECURSIVE ns (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM ns WHERE n < 4) SELECT n, n AS id FROM ns',
  ),
  'WITH … VALUES': one('WITH p (id) AS (VALUES (1), (2)) VALUES (1, 2), ((SELECT max(id) FROM p), 4)', 'column2'),
  'WITH MATERIALIZED': one('WITH p AS NOT MATERIALIZED (SELECT id FROM items) SELECT id FROM p ORDER BY id'),
  'a window': one('SELECT id, row_number() OVER (ORDER BY id DESC) AS place FROM items ORDER BY id', 'place'),
  'a subquery': one('SELECT id, (SELECT count(*) FROM parts WHERE item_id = items.id) AS parts FROM items ORDER BY id'),
  json_each: one(`SELECT key, value, value, type FROM json_each('[1,"two",null,{"a":1}]')`, 'key'),
  'PRAGMA table_info': one('PRAGMA table_info(items)', 'name'),
  'PRAGMA table_info, of no table': one('PRAGMA table_info(none)'),
  'PRAGMA table_xinfo': one("PRAGMA table_xinfo('items')", 'name'),
  'PRAGMA index_list': one('PRAGMA index_list = parts', 'name'),
  'PRAGMA foreign_key_list': one('PRAGMA foreign_key_list("parts")', 'from'),
  'PRAGMA foreign_keys': one('PRAGMA foreign_keys', 'foreign_keys'),
  'PRAGMA quick_check': one('PRAGMA quick_check', 'quick_check'),
  'pragma_table_info()': one("SELECT name, type FROM pragma_table_info('items')", 'type'),
  EXPLAIN: one('EXPLAIN SELECT id FROM items WHERE id = 1', 'opcode'),
  'EXPLAIN of a write': one('EXPLAIN DELETE FROM serials', 'opcode'),
  'EXPLAIN QUERY PLAN': one('EXPLAIN QUERY PLAN SELECT id FROM items', 'detail'),
  'EXPLAIN QUERY PLAN of a write': one("EXPLAIN QUERY PLAN UPDATE items SET n = 1 WHERE id = 'x'", 'detail'),
  'the schema': one("SELECT name, type, tbl_name FROM sqlite_schema WHERE name LIKE 'item%' ORDER BY name", 'name'),
  'a read of the slots': one("SELECT slot, state, epoch FROM slots WHERE slot = '00aa'", 'state'),
  // ── literals, comments, semicolons ──
  'a literal with a semicolon': one(
    "SELECT a.id, b.id, 'x; y' AS t FROM items a JOIN items b ON a.id < b.id ORDER BY 1, 2",
    't',
  ),
  'a literal with a comment': one("SELECT id, id, '-- not' AS t, '/* not' AS u FROM items ORDER BY id -- ''", 't'),
  'a literal with a quote': one(`SELECT 'it''s; "x' AS t, "name" AS "a;""b" FROM items ORDER BY id`, 't'),
  'a quoted name with a semicolon': one(
    'SELECT id AS "x; y", id AS [x; y], id AS `x; y` FROM items ORDER BY 1',
    'x; y',
  ),
  'a comment before': one('-- DELETE FROM items\n/* ; UPDATE */ SELECT id, id FROM items ORDER BY id'),
  'a comment inside': one('SELECT id /* ; DELETE FROM items; */, id FROM items -- ; update\n ORDER BY id'),
  'a comment at the end': one('SELECT id, id FROM items ORDER BY id -- done'),
  'a comment at the end that never ends': one('SELECT id, id FROM items ORDER BY id /* done'),
  'a semicolon at the end': one('SELECT id, id FROM items ORDER BY id;'),
  'a semicolon, blanks': one('SELECT id, id FROM items ORDER BY id ; \n\t'),
  'a semicolon, a comment': one('SELECT id, id FROM items ORDER BY id; -- done'),
  'a semicolon, a block comment': one('SELECT id, id FROM items ORDER BY id; /* done */'),
  'two semicolons': one('SELECT id, id FROM items ORDER BY id;;'),
  'a semicolon before': one(';SELECT id, id FROM items ORDER BY id'),
  'blanks and a form feed before': one('\n\t\f SELECT id FROM items ORDER BY id'),
  'two reads': one('SELECT id FROM items WHERE 0; /*#*/ SELECT 2 AS id, 3 AS id'),
  'lower case and no blanks': one('select(1)as"id",(2)as"b"'),
  'in brackets of a list': one(
    "SELECT id FROM items WHERE (id, n) IN (VALUES ('00aa-a', 1), ('00aa-b', 2)) ORDER BY id",
  ),
  // ── binding ──
  'limit and offset bound': with_('SELECT id FROM items ORDER BY id LIMIT ? OFFSET ?', [1, 1]),
  'places by number': with_('SELECT ?2 AS second, ?1 AS first, ?3 AS third, ?1 AS id', ['a', 'b', 'c'], 'second'),
  'places without and with numbers': with_('SELECT ?2 AS second, ?1 AS first, ? AS third', ['a', 'b', 'c'], 'third'),
  'a place in the columns and the condition': with_('SELECT ? AS id FROM items WHERE n > ? ORDER BY 1', ['x', 1]),
  'a question mark in a literal': with_("SELECT '?' AS id, ? AS b -- ?", ['x'], 'b'),
  'nothing bound': with_('SELECT id FROM items ORDER BY id', []),
}

/** In a batch with a write, the guard is the statement before the first one. */
export const changesBefore: Record<string, Statement> = {
  'functions that tell of the write before': one('SELECT changes() AS c, last_insert_rowid() AS id'),
}
