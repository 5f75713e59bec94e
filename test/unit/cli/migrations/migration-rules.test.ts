import { readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { migratedDatabase } from '../../../../scripts/shard-schema.ts'
import { refuseUnsafe, SILENT_WHILE_MOVING } from '../../../../src/cli/migrations/migration-rules.ts'
import { readMigrations } from '../../../../src/cli/migrations/shard-migrations.ts'
import { UserError } from '../../../../src/cli/shell/errors.ts'

const shipped = readMigrations()

/** Checks the shipped migrations and one more with these statements. */
const check = (...statements: string[]) => {
  const later = { name: '0099_later.sql', statements }
  return () => refuseUnsafe([later], [...shipped, later])
}

const fixOf = (run: () => void): string => {
  try {
    run()
  } catch (error) {
    return (error as UserError).fix
  }
  throw new Error('it was not refused')
}

const insteadOf = 'CREATE TRIGGER v_insert INSTEAD OF INSERT ON v BEGIN DELETE FROM posts; END'

describe('a migration is refused by name', () => {
  test.each([
    ['a rebuild', 'CREATE TABLE `__new_posts` (id text)'],
    ['a rebuild’s copy', 'INSERT INTO `__new_posts` SELECT * FROM posts'],
    ['a rename', 'ALTER TABLE `__new_posts` RENAME TO `posts`'],
    ['DROP TABLE', 'DROP TABLE `posts`'],
    ['drop table in lower case', 'drop table if exists posts'],
    ['disabled checks', 'PRAGMA foreign_keys=OFF'],
    ['DROP COLUMN', 'ALTER TABLE `posts` DROP COLUMN `text`'],
    ['DROP without COLUMN', 'ALTER TABLE main.posts DROP text'],
    ['another name for a column', 'ALTER TABLE posts RENAME COLUMN text TO body'],
    ['another name for a column, without COLUMN', 'ALTER TABLE posts RENAME text TO body'],
  ])('with %s', (_, statement) => {
    expect(check('CREATE INDEX i ON posts (version)', statement)).toThrow(/0099_later\.sql/)
  })

  test.each([
    ["UPDATE posts SET text = ''", 'UPDATE'],
    ['update "POSTS" set text = 1', 'UPDATE'],
    ['DELETE FROM `posts` WHERE version = 1', 'DELETE'],
    ['INSERT INTO main.posts SELECT * FROM posts', 'INSERT'],
    ['INSERT OR IGNORE INTO [posts] DEFAULT VALUES', 'INSERT'],
    ["REPLACE INTO 'posts' VALUES (1)", 'REPLACE'],
    ['WITH a AS (SELECT 1) UPDATE posts SET version = 2', 'UPDATE'],
    ['/* only a comment */ -- and another\n UPDATE posts SET version = 2', 'UPDATE'],
    ['CREATE TABLE a (b); UPDATE posts SET version = 2', 'UPDATE'],
  ])('that writes sharded rows: %s', (statement, verb) => {
    const run = check(statement)
    expect(run).toThrow(UserError)
    expect(run).toThrow(`0099_later.sql writes rows of the sharded table posts (${verb})`)
    expect(fixOf(run)).toContain('slot by slot through shards.of(…)')
  })

  test('that writes rows of a table that it creates and fences itself', () => {
    const fence = 'CREATE TRIGGER "notes_fence_insert" BEFORE INSERT ON "notes" BEGIN SELECT 1; END;'
    expect(check('CREATE TABLE notes (id TEXT)', 'INSERT INTO notes VALUES (1)', fence)).toThrow(/sharded table notes/)
  })

  test('that drops a fence, also to write rows without it', () => {
    const drop = 'DROP TRIGGER IF EXISTS "Posts_Fence_Update"'
    expect(check(drop)).toThrow(
      'creates the fence posts_fence_update of the sharded table posts, and a later statement drops it',
    )
    expect(check(drop, 'UPDATE posts SET version = 2')).toThrow('writes rows of the sharded table posts')
  })

  test('that writes sharded rows through a view, or through the trigger of another table', () => {
    const view = 'CREATE VIEW v AS SELECT id FROM posts'
    expect(check(view, insteadOf, 'INSERT INTO v VALUES (1)')).toThrow('posts through a trigger of v (INSERT)')
    const chain = 'CREATE TRIGGER chain AFTER INSERT ON plain BEGIN INSERT INTO v VALUES (NEW.a); END'
    expect(check(view, 'CREATE TABLE plain (a)', chain, insteadOf, 'INSERT INTO plain VALUES (1)')).toThrow(
      'posts through a trigger of plain (INSERT)',
    )
  })
})

describe('a migration is accepted', () => {
  test.each([
    ['that only adds', 'CREATE TABLE t (id text)', 'ALTER TABLE posts ADD `pinned` integer'],
    [
      'that drops a fence and creates it again',
      'DROP TRIGGER posts_fence_insert',
      'CREATE TRIGGER "posts_fence_insert" BEFORE INSERT ON "posts" BEGIN SELECT 1; END',
    ],
    [
      'that writes a table that is not sharded',
      'CREATE TABLE t (a)',
      'INSERT INTO t SELECT id FROM posts',
      'UPDATE t SET a = 1',
    ],
    ['that copies sharded rows', 'CREATE TABLE copy AS SELECT * FROM posts'],
    [
      'that mentions a write only in a string',
      "INSERT INTO mover_notes VALUES ('UPDATE posts SET a = 1; DROP TABLE posts')",
    ],
    ['whose view is not written to', 'CREATE VIEW v AS SELECT id FROM posts', insteadOf],
  ])('%s', (_, ...statements) => {
    expect(check(...statements)).not.toThrow()
  })

  test('that wrote rows of a table before a later one fenced it', () => {
    const before = {
      name: '0098_before.sql',
      statements: ['CREATE TABLE notes (id TEXT)', 'INSERT INTO notes VALUES (1)'],
    }
    const fence = 'CREATE TRIGGER "notes_fence_insert" BEFORE INSERT ON "notes" BEGIN SELECT 1; END'
    const later = { name: '0099_later.sql', statements: [fence] }
    expect(() => refuseUnsafe([before, later], [...shipped, before, later])).not.toThrow()
  })
})

describe('a trigger on a sharded table', () => {
  const on = (when: string, table = 'posts') =>
    `CREATE TRIGGER mine AFTER UPDATE ON ${table} ${when} BEGIN INSERT INTO t VALUES (NEW.id); END`

  test.each([
    '',
    "WHEN NEW.text <> ''",
    `WHEN ${SILENT_WHILE_MOVING} OR NEW.version > 1`,
    `WHEN NOT ${SILENT_WHILE_MOVING}`,
    `WHEN NEW.version BETWEEN 1 AND ${SILENT_WHILE_MOVING}`,
    `WHEN (CASE WHEN 1 AND ${SILENT_WHILE_MOVING} AND 1 THEN 1 ELSE 1 END)`,
    `WHEN NEW.version > 1 AND (${SILENT_WHILE_MOVING} OR NEW.version > 2)`,
    `WHEN ${SILENT_WHILE_MOVING} IS NOT 1 AND NEW.version > 1`,
    'WHEN (SELECT open FROM mover) = 1',
    "WHEN '(SELECT open FROM mover) = 0'",
    'WHEN (SELECT open FROM mover WHERE 0) = 0',
  ])('is refused %s', (when) => {
    const run = check('CREATE TABLE t (a)', on(when))
    expect(run).toThrow(/has a trigger mine on the sharded table posts that would fire when a move writes/)
    expect(fixOf(run)).toContain(SILENT_WHILE_MOVING)
  })

  test.each([
    `WHEN ${SILENT_WHILE_MOVING}`,
    'when (select  "OPEN" from Mover)=0',
    `WHEN (${SILENT_WHILE_MOVING})`,
    `WHEN NEW.version > 1 AND ${SILENT_WHILE_MOVING}`,
    `WHEN ${SILENT_WHILE_MOVING} AND (NEW.version BETWEEN 1 AND 2 OR NEW.text = 'a') AND NEW.id > ''`,
    `WHEN ((NEW.version = 1 AND (${SILENT_WHILE_MOVING})) AND NEW.id > '')`,
  ])('is accepted %s', (when) => {
    expect(check('CREATE TABLE t (a)', on(when))).not.toThrow()
  })

  test('is refused even if it is older than the table’s fences, unless it is created again with the condition', () => {
    const before = { name: '0098_before.sql', statements: ['CREATE TABLE notes (id TEXT)', on('', 'notes')] }
    const fence = 'CREATE TRIGGER "notes_fence_insert" BEFORE INSERT ON "notes" BEGIN SELECT 1; END'
    const later = (...more: string[]) => ({ name: '0099_later.sql', statements: [fence, ...more] })
    const all =
      (...more: string[]) =>
      () =>
        refuseUnsafe([later(...more)], [...shipped, before, later(...more)])
    expect(all()).toThrow(/^0098_before\.sql has a trigger mine on the sharded table notes/)
    expect(all('DROP TRIGGER IF EXISTS mine')).not.toThrow()
    expect(all('DROP TRIGGER mine', on(`WHEN ${SILENT_WHILE_MOVING}`, 'notes'))).not.toThrow()
  })

  test('that is not on a sharded table needs no condition', () => {
    expect(check('CREATE TABLE t (a)', 'CREATE TABLE plain (id)', on('', 'plain'))).not.toThrow()
  })

  test('with the condition is silent while a mover’s window is open, and otherwise fires', () => {
    const shard = migratedDatabase()
    shard.exec("INSERT INTO slots (keyspace, slot, state, epoch) VALUES ('users', '0000', 'active', 1)")
    shard.exec(`CREATE TABLE t (a); ${on(`WHEN ${SILENT_WHILE_MOVING}`)}`)
    shard.exec("INSERT INTO posts VALUES ('0000a', 'a', 't', 1, NULL, 1)")
    const fired = () => shard.prepare('SELECT count(*) AS n FROM t').get()!.n
    shard.exec('UPDATE mover SET open = 1; UPDATE posts SET version = 2; UPDATE mover SET open = 0')
    expect(fired()).toBe(0)
    shard.exec('UPDATE posts SET version = 3')
    expect(fired()).toBe(1)
  })
})

describe('a trigger that D1’s API may split is refused, and the fix says how to write it', () => {
  test.each([
    ['more than one line', 'CREATE TRIGGER g AFTER INSERT ON t BEGIN\n SELECT 1; END'],
    ['upper case', 'CREATE TRIGGER g AFTER INSERT ON t begin SELECT 1; END'],
    ['upper case', 'CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; End'],
    [
      'a CASE … END is not in parentheses',
      'CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; END',
    ],
  ])('%s: %s', (why, statement) => {
    expect(check('CREATE TABLE t (a)', statement)).toThrow(why)
    expect(fixOf(check('CREATE TABLE t (a)', statement))).toContain('in one line')
  })

  test('a trigger in the form of the fences is accepted', () => {
    const trigger = "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT (CASE 1 WHEN 1 THEN RAISE(ABORT, 'end') END); END"
    expect(check('CREATE TABLE t (a)', trigger)).not.toThrow()
  })
})

test('the example trigger in the docs is accepted', () => {
  const page = readFileSync(path.resolve(import.meta.dirname, '../../../../docs/building/tables.md'), 'utf8')
  const blocks = [...page.matchAll(/```sql\n([\s\S]*?)```/g)].map((match) => match[1]!.trim())
  expect(blocks).toContain(`WHEN ${SILENT_WHILE_MOVING}`)
  const [trigger] = blocks.filter((block) => block.startsWith('CREATE TRIGGER'))
  expect(check(trigger!)).not.toThrow()
  expect(() => migratedDatabase().exec(trigger!)).not.toThrow()
})
