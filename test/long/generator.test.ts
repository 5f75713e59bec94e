import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')
let copy: string
beforeAll(() => {
  copy = mkdtempSync(path.join(tmpdir(), 'banyan-generator-'))
  for (const part of ['src', 'scripts', 'migrations', 'package.json'])
    cpSync(path.join(root, part), path.join(copy, part), { recursive: true })
  symlinkSync(path.join(root, 'node_modules'), path.join(copy, 'node_modules'))
})
afterAll(() => rmSync(copy, { recursive: true }))

const folder = () => path.join(copy, 'migrations/shard')
const generate = (...args: string[]) =>
  spawnSync('npm', ['run', '--silent', 'migrations:generate', '--', ...args], { cwd: copy, encoding: 'utf8' })

function notes(columns: string): void {
  mkdirSync(path.join(copy, 'src/app/notes'), { recursive: true })
  writeFileSync(
    path.join(copy, 'src/app/notes/schema.ts'),
    `import { sql } from 'drizzle-orm'
     import { integer, sqliteTable, text } from 'drizzle-orm/sqlite-core'
     import { sharded } from '../../sharding/sharded-table.ts'
     export const notes = sharded('users', sqliteTable('no"tes', { id: text().primaryKey().notNull(), ${columns} }))`,
  )
}

test('a new table and a new column get fences that the migrations then hold, and a second run writes nothing', () => {
  notes('bytes: integer(), length: integer().generatedAlwaysAs(sql`length(id)`)')
  expect(generate('--name', 'notes')).toMatchObject({ status: 0, stdout: expect.stringContaining('with 3 fences') })
  notes('bytes: integer(), length: integer().generatedAlwaysAs(sql`length(id)`), size: text()')
  expect(generate('--name', 'size')).toMatchObject({ status: 0, stdout: expect.stringContaining('with 2 fences') })
  const written = readdirSync(folder())
    .filter((name) => name.endsWith('.sql'))
    .at(-1)!
  const sql = readFileSync(path.join(folder(), written), 'utf8')
  expect(sql).toContain(
    'DROP TRIGGER "no""tes_fence_insert";\n--> statement-breakpoint\nCREATE TRIGGER "no""tes_fence_insert"',
  )
  expect(generate()).toMatchObject({ status: 0, stdout: expect.stringContaining('The migrations match the schema.') })
})

test('the tables of a removed noun stay, and their names cannot be used again', () => {
  const schema = path.join(copy, 'src/app/posts/schema.ts')
  const text = readFileSync(schema, 'utf8')
  rmSync(schema)
  expect(generate('--name', 'without_posts')).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('Kept: post_counts, posts.'),
  })
  const [written] = readdirSync(folder()).filter((name) => name.endsWith('_without_posts.sql'))
  expect(readFileSync(path.join(folder(), written!), 'utf8')).toBe(
    '-- These tables have no schema any more, and stay in every shard: post_counts, posts\nSELECT 1;\n',
  )
  expect(generate()).toMatchObject({ status: 0, stdout: expect.stringContaining('The migrations match the schema.') })
  const before = readdirSync(folder())
  writeFileSync(schema, text)
  const again = generate('--name', 'posts_again')
  expect(again).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('Every shard still has the table post_counts'),
  })
  expect(readdirSync(folder())).toEqual(before)
  rmSync(schema)
})

/** Twenty tables with many columns: forty are too many for the statement of a move. */
function wide(name: string): void {
  const columns = Array.from({ length: 99 }, (_, index) => `c${index}: text()`).join(', ')
  const tables = Array.from(
    { length: 20 },
    (_, index) =>
      `export const ${name}${index} = sharded('users', sqliteTable('${name}${index}', { id: text().primaryKey().notNull(), ${columns} }))`,
  )
  const imports = [
    "import { sqliteTable, text } from 'drizzle-orm/sqlite-core'",
    "import { sharded } from '../../sharding/sharded-table.ts'",
  ]
  mkdirSync(path.join(copy, 'src/app/wide'), { recursive: true })
  writeFileSync(path.join(copy, 'src/app/wide/schema.ts'), [...imports, ...tables].join('\n'))
}

test('the tables of a removed noun count for the statement of a move, because moves carry their rows', () => {
  wide('first')
  expect(generate('--name', 'first')).toMatchObject({ status: 0 })
  rmSync(path.join(copy, 'src/app/wide'), { recursive: true })
  expect(generate('--name', 'without_first')).toMatchObject({ status: 0 })
  const before = readdirSync(folder())
  wide('second')
  expect(generate('--name', 'second')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/^The \d+ tables of the keyspace users need a statement of \d+ bytes in each move/),
  })
  expect(readdirSync(folder())).toEqual(before)
  rmSync(path.join(copy, 'src/app/wide'), { recursive: true })
})

test.each([
  ['a write of sharded rows', "UPDATE posts SET text = ''", /9999_mine\.sql writes rows of the sharded table posts/],
  [
    'a trigger that fires in moves',
    'CREATE TRIGGER mine AFTER INSERT ON posts BEGIN SELECT 1; END',
    /9999_mine\.sql has a trigger mine on the sharded table posts/,
  ],
])('%s is refused, and the folder is unchanged', (_, sql, why) => {
  const mine = path.join(folder(), '9999_mine.sql')
  writeFileSync(mine, sql)
  const before = readdirSync(folder())
  const run = generate()
  expect(run.status).toBe(1)
  expect(run.stderr).toMatch(why)
  expect(readdirSync(folder())).toEqual(before)
  rmSync(mine)
})

test('another application gets the engine’s migrations and tables: the example’s folder is what the command writes', () => {
  const shipped = path.join(root, 'examples/notes')
  cpSync(path.join(shipped, 'schema.ts'), path.join(copy, 'examples/mine/schema.ts'))
  const mine = ['--schema', 'examples/mine/schema.ts', '--out=examples/mine/migrations']
  expect(generate(...mine, '--name', 'notes')).toMatchObject({ status: 0 })
  const written = path.join(copy, 'examples/mine/migrations')
  const files = readdirSync(written).filter((name) => name.endsWith('.sql'))
  expect(files).toEqual(readdirSync(path.join(shipped, 'migrations')).filter((name) => name.endsWith('.sql')))
  for (const name of files)
    expect(readFileSync(path.join(written, name), 'utf8')).toBe(
      readFileSync(path.join(shipped, 'migrations', name), 'utf8'),
    )
  expect(generate(...mine)).toMatchObject({
    status: 0,
    stdout: expect.stringContaining('The migrations match the schema.'),
  })
})

test.each([
  ['--schema alone', ['--schema', 'examples/mine/schema.ts'], 'Only one of --schema and --out was given.'],
  ['--out alone', ['--out', 'examples/mine/migrations'], 'Only one of --schema and --out was given.'],
])('%s is refused', (_, args, why) => {
  const run = generate(...args)
  expect([run.status, run.stderr.includes(why)]).toEqual([1, true])
})

test('a table that is not declared as sharded is refused for another application too, and no folder is created', () => {
  mkdirSync(path.join(copy, 'examples/plain'), { recursive: true })
  writeFileSync(
    path.join(copy, 'examples/plain/schema.ts'),
    `import { sqliteTable, text } from 'drizzle-orm/sqlite-core'
     export const plain = sqliteTable('plain', { id: text().primaryKey().notNull() })`,
  )
  const run = generate('--schema', 'examples/plain/schema.ts', '--out', 'examples/plain/migrations')
  expect(run.status).toBe(1)
  expect(run.stderr).toContain("Table plain can't be sharded")
  expect(readdirSync(path.join(copy, 'examples/plain'))).toEqual(['schema.ts'])
})
