import { expect, test } from 'vitest'
import { statementKind } from '../../../src/sharding/statement-kind.ts'

test.each([
  'SELECT 1',
  'select 1',
  'SeLeCt 1',
  '  \n\tSELECT 1',
  '-- a comment; DELETE FROM posts\nSELECT 1',
  '/* DELETE FROM posts */ SELECT 1',
  '/**/--\n/* a */\n  SELECT 1',
  'SELECT(1)',
  'SELECT 1;',
  'SELECT 1 ; \n ',
  "SELECT 'DELETE FROM posts'",
  "SELECT replace(text, 'a', 'b') FROM posts",
  'WITH p AS (SELECT 1) SELECT * FROM p',
  'with recursive p(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM p) select * from p',
  'WITH p AS (SELECT updated_at, deletes FROM t) SELECT * FROM p',
  "SELECT a.id, group_concat(b.text, '; ') FROM posts a JOIN posts b ON a.id < b.id",
  "WITH p AS (SELECT replace('a', 'b', 'c')) SELECT * FROM p",
  'WITH p AS (SELECT \'delete\'), q (update_, "delete") AS NOT MATERIALIZED (SELECT 1, 2) SELECT * FROM p, q',
  'WITH recursive AS (SELECT 1) VALUES ((SELECT * FROM recursive))',
  "SELECT ';x' -- ; DELETE FROM posts",
  'SELECT 1; -- the end',
  'SELECT 1;;',
  'SELECT 1 /* never closed',
  'SELECT "a;b", `c;d`, [e;f] FROM posts',
  'VALUES (1), (2)',
  '\ufeffSELECT 1',
  ' \vSELECT 1',
  'EXPLAIN SELECT 1',
  'EXPLAIN QUERY PLAN DELETE FROM posts',
  'EXPLAIN WITH p AS (SELECT 1) DELETE FROM posts',
  'EXPLAIN PRAGMA foreign_keys',
  'PRAGMA table_info(posts)',
  "pragma table_xinfo = 'posts'",
  'PRAGMA main.index_list(posts)',
  'PRAGMA table_list',
  'PRAGMA foreign_keys',
  'PRAGMA quick_check(10)',
])('%j is a read', (sql) => {
  expect(statementKind(sql)).toEqual({ isRead: true, isEmpty: false })
})

test.each([
  'INSERT INTO posts VALUES (1)',
  'insert into posts values (1)',
  'UPDATE posts SET version = 1',
  'DELETE FROM posts',
  'REPLACE INTO posts VALUES (1)',
  '-- SELECT\nDELETE FROM posts',
  '/* SELECT 1 */ DELETE FROM posts',
  '/* */ -- SELECT 1\n UPDATE posts SET version = 1',
  'WITH p AS (SELECT 1) INSERT INTO posts SELECT * FROM p',
  'WITH p AS (SELECT 1) update posts SET version = 1',
  'WITH p AS (SELECT 1)\nDELETE\nFROM posts',
  'WITH p AS (SELECT 1)DELETE/**/FROM posts',
  'WITH p AS (SELECT 1) REPLACE INTO posts SELECT * FROM p',
  'SELECT 1; DELETE FROM posts',
  'SELECT 1;DELETE FROM posts',
  'SELECT 1;\n-- and\nDELETE FROM posts',
  ';DELETE FROM posts',
  'CREATE TABLE t (a)',
  'DROP TABLE posts',
  'PRAGMA user_version = 1',
  'PRAGMA foreign_keys = 1',
  'PRAGMA foreign_keys(1)',
  'PRAGMA main.foreign_keys = 1',
  'PRAGMA optimize',
  'PRAGMA nothing_known',
  'EXPLAIN PRAGMA foreign_keys = 1',
  "WITH p AS (SELECT ';') DELETE FROM posts",
  "SELECT 'never closed; DELETE FROM posts",
  'SELECT "never closed',
  'SELECT [never closed',
  // One token in some builds of SQLite, several in others.
  "SELECT $a('); DELETE FROM posts; --')",
  'SELECT $a::b',
  // SQLite's text ends at the NUL.
  'SELECT 1 \0 FROM posts',
  '\0SELECT 1',
  ';SELECT 1',
])('%j is not a read', (sql) => {
  expect(statementKind(sql).isRead).toBe(false)
})

test.each([
  ['', true],
  [' \n;; ', true],
  ['-- nothing', true],
  ['/* a */ ; -- b\n', true],
  ['SELECT 1', false],
  ['/* never closed SELECT 1', true],
  ['-- a\nSELECT 1', false],
  ['; DELETE FROM posts', false],
])('%j is empty: %s', (sql, empty) => {
  expect(statementKind(sql).isEmpty).toBe(empty)
})

test('the answer for a text stays the same, even after more texts than are cached', () => {
  const texts = Array.from({ length: 2_500 }, (_, n) =>
    n % 2 === 0 ? `SELECT ${n}` : `DELETE FROM posts WHERE version = ${n}`,
  )
  for (let round = 0; round < 2; round++)
    expect(texts.map((sql) => statementKind(sql).isRead)).toEqual(texts.map((_, n) => n % 2 === 0))
})
