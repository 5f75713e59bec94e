import { expect, test } from 'vitest'
import { isEmpty, isPlainlyRead } from '../../../src/sharding/statement-kind.ts'

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
])('%j is plainly a read', (sql) => {
  expect(isPlainlyRead(sql)).toBe(true)
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
])('%j is no read', (sql) => {
  expect(isPlainlyRead(sql)).toBe(false)
})

/** These only read; taking them for a write costs two statements and loses nothing. */
test.each([
  "WITH p AS (SELECT 'delete') SELECT * FROM p",
  "WITH p AS (SELECT replace('a', 'b', 'c')) SELECT * FROM p",
  "SELECT ';x'",
  'VALUES (1)',
  'EXPLAIN SELECT 1',
  'SELECT 1; -- the end',
  '',
  '-- nothing',
  '/* never closed SELECT 1',
])('%j is taken for a write', (sql) => {
  expect(isPlainlyRead(sql)).toBe(false)
})

test.each([
  ['', true],
  [' \n;; ', true],
  ['-- nothing', true],
  ['/* a */ ; -- b\n', true],
  ['SELECT 1', false],
  ['-- a\nSELECT 1', false],
  ['; DELETE FROM posts', false],
])('%j is empty: %s', (sql, empty) => {
  expect(isEmpty(sql)).toBe(empty)
})
