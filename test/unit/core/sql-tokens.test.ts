import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { sqlStatements, sqlTokens, triggerOf, writeOf } from '../../../src/core/sql-tokens.ts'

const words = (sql: string) => sqlTokens(sql).map(({ kind, value }) => `${kind} ${value}`)
const texts = (sql: string) => sqlStatements(sql).map((tokens) => sql.slice(tokens[0]!.start, tokens.at(-1)!.end))
const write = (sql: string) => writeOf(sqlStatements(sql)[0]!)
const trigger = (sql: string) => triggerOf(sqlStatements(sql)[0]!)

describe('tokens', () => {
  test.each([
    [`'it''s; --no' x`, ["text it's; --no", 'word x']],
    ['"a""b" `c``d` [e;f]', ['name a"b', 'name c`d', 'name e;f']],
    ['a -- b; c\nd /* e; \n */ f', ['word a', 'word d', 'word f']],
    ['a /* never closed; b', ['word a']],
    ["x'00ff' X'' xyz 'x'", ["blob x'00ff'", "blob X''", 'word xyz', 'text x']],
    ['1.5e-3 .5 0xFF 7. 1e5', ['number 1.5e-3', 'number .5', 'number 0xFF', 'number 7.', 'number 1e5']],
    ['?1 ? :a @b $c', ['parameter ?1', 'parameter ?', 'parameter :a', 'parameter @b', 'parameter $c']],
    [
      'a.b->>c||d<>e!=f==g',
      [
        'word a',
        'sign .',
        'word b',
        'sign ->>',
        'word c',
        'sign ||',
        'word d',
        'sign <>',
        'word e',
        'sign !=',
        'word f',
        'sign ==',
        'word g',
      ],
    ],
    ['été 日本_1$', ['word été', 'word 日本_1$']],
    ["'open", ["sign '", 'word open']],
    ['', []],
  ])('%s', (sql, wanted) => {
    expect(words(sql)).toEqual(wanted)
  })

  test('have their positions', () => {
    const sql = `SELECT "a""b" /* no */ FROM t`
    expect(sqlTokens(sql).map(({ start, end }) => sql.slice(start, end))).toEqual(['SELECT', '"a""b"', 'FROM', 't'])
  })
})

describe('statements', () => {
  test.each([
    ['a; b;; -- c\n; d', ['a', 'b', 'd']],
    ["INSERT INTO t VALUES (';'); SELECT 1", ["INSERT INTO t VALUES (';')", 'SELECT 1']],
    [' ;; /* nothing */ ', []],
    [
      'CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM u; END; SELECT 1',
      ['CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT CASE WHEN 1 THEN 2 END; DELETE FROM u; END', 'SELECT 1'],
    ],
    [
      "create temp trigger g after insert on t begin select ';end;'; end\n;\nselect 2;",
      ["create temp trigger g after insert on t begin select ';end;'; end", 'select 2'],
    ],
    ['CREATE TABLE trigger_x (end); SELECT 1', ['CREATE TABLE trigger_x (end)', 'SELECT 1']],
  ])('%s', (sql, wanted) => {
    expect(texts(sql)).toEqual(wanted)
  })
})

describe('the table that a statement writes', () => {
  test.each([
    ['INSERT INTO posts VALUES (1)', { verb: 'INSERT', table: 'posts' }],
    ['insert or replace into main."po""sts" (a) select 1', { verb: 'INSERT', table: 'po"sts' }],
    ['REPLACE INTO [posts] DEFAULT VALUES', { verb: 'REPLACE', table: 'posts' }],
    ['UPDATE `posts` SET a = 1', { verb: 'UPDATE', table: 'posts' }],
    ['UPDATE OR IGNORE posts SET a = 1', { verb: 'UPDATE', table: 'posts' }],
    ["DELETE FROM 'posts' WHERE a IN (SELECT 1)", { verb: 'DELETE', table: 'posts' }],
    ['/* a */ -- b\n DELETE /* c */ FROM temp . posts', { verb: 'DELETE', table: 'posts' }],
    [
      'WITH a AS (SELECT 1), b (c) AS NOT MATERIALIZED (SELECT (2)) INSERT INTO posts SELECT * FROM a',
      { verb: 'INSERT', table: 'posts' },
    ],
    [
      'WITH RECURSIVE replace (n) AS (VALUES (1)) UPDATE posts SET a = 1 FROM replace',
      { verb: 'UPDATE', table: 'posts' },
    ],
    ['EXPLAIN QUERY PLAN DELETE FROM posts', { verb: 'DELETE', table: 'posts' }],
    ['WITH a AS (SELECT 1) SELECT replace(1, 2, 3) FROM a', null],
    ["SELECT 'DELETE FROM posts'", null],
    ['CREATE TABLE copy AS SELECT * FROM posts', null],
    ['ALTER TABLE posts ADD a', null],
    ['CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM posts; END', null],
    ['', null],
  ])('%s', (sql, wanted) => {
    expect(sqlStatements(sql).length === 0 ? null : write(sql)).toEqual(wanted)
  })

  test('is the table whose rows SQLite changes', () => {
    const sqlite = new DatabaseSync(':memory:')
    sqlite.exec(
      'CREATE TABLE posts (a); CREATE TABLE other (a); INSERT INTO posts VALUES (1); INSERT INTO other VALUES (1)',
    )
    for (const sql of [
      'WITH other AS (SELECT 2 AS a) INSERT INTO posts SELECT a FROM other',
      'UPDATE posts SET a = other.a + 7 FROM other',
      'DELETE FROM posts WHERE a IN (SELECT a FROM other)',
    ]) {
      expect(write(sql)!.table, sql).toBe('posts')
      sqlite.exec(sql)
      expect(sqlite.prepare('SELECT * FROM other').all()).toHaveLength(1)
    }
  })
})

describe('a trigger', () => {
  test('has a name, a table, a condition and statements', () => {
    const found = trigger(
      `CREATE TRIGGER IF NOT EXISTS main."a ""g""" INSTEAD OF UPDATE OF "on", b ON [v w] FOR EACH ROW
       WHEN NEW.begin = 1 AND (SELECT 'BEGIN DELETE') BEGIN
       INSERT INTO t SELECT CASE 1 WHEN 1 THEN ';' END; WITH a AS (SELECT 1) DELETE FROM u; END`,
    )!
    expect(found).toMatchObject({ name: 'a "g"', table: 'v w' })
    expect(found.when.map(({ value }) => value).join(' ')).toBe('NEW . begin = 1 AND ( SELECT BEGIN DELETE )')
    expect(found.body.map(writeOf)).toEqual([
      { verb: 'INSERT', table: 't' },
      { verb: 'DELETE', table: 'u' },
    ])
  })

  test.each(['CREATE TABLE t (a)', 'DROP TRIGGER g', 'CREATE TRIGGER', 'CREATE TRIGGER g AFTER INSERT'])(
    'is not in %s',
    (sql) => {
      expect(trigger(sql)).toBeNull()
    },
  )
})
