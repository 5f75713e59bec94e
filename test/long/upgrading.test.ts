import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { migratedDatabase } from '../../scripts/shard-schema.ts'
import { readMigrations } from '../../src/cli/migrations/shard-migrations.ts'
import { root } from '../../src/cli/shell/root.ts'

// A builder's copy with its own tables merges a later version of the engine, with the commands of docs/upgrading.md.

const MIGRATIONS = 'migrations/shard'
const ENGINE_LIST = 'scripts/engine-migrations.ts'

/** The migration file with this title if `others` migrations come between it and this version's last. */
const fileAfter = (others: number, title: string) =>
  `${String(readMigrations().length + others).padStart(4, '0')}_${title}.sql`
const ofEngine = fileAfter(1, 'more_views')
const own = [fileAfter(0, 'bookmarks'), fileAfter(1, 'labels')]
const taken = fileAfter(2, 'more_views')

const page = readFileSync(path.join(root, 'docs/upgrading.md'), 'utf8')

/** The commands of a section, one text per fenced block. */
function commandsOf(heading: string, fences: number): string[] {
  const section = page.split(/^## /m).find((part) => part.startsWith(heading)) ?? ''
  const commands = [...section.matchAll(/^ *```sh run-by=\S+\n(.*?)^ *```/gms)].map(([, text = '']) => text)
  expect(commands).toHaveLength(fences)
  return commands
}

let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'banyan-upgrading-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const author = { GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@example.com' }
const committer = { GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@example.com' }

/** A clone in which commands run. Each command must exit with one of `statuses`. */
function clone(source: string, name: string) {
  const place = path.join(folder, name)
  const run = (commands: string, statuses = [0]): string => {
    const env = { ...process.env, ...author, ...committer }
    const { status, stdout, stderr } = spawnSync('bash', ['-ec', commands], { cwd: place, env, encoding: 'utf8' })
    expect(statuses, `${commands}\n${stdout}${stderr}`).toContain(status)
    return stdout
  }
  mkdirSync(place)
  run(`git clone --quiet ${source} . && git checkout --quiet -B main && echo node_modules >> .git/info/exclude`)
  symlinkSync(path.join(root, 'node_modules'), path.join(place, 'node_modules'))
  const file = (relative: string) => path.join(place, relative)
  return {
    run,
    file,
    replace(relative: string, before: string, after: string) {
      const text = readFileSync(file(relative), 'utf8')
      expect(text).toContain(before)
      writeFileSync(file(relative), text.replace(before, after))
    },
    migrations: () => readdirSync(file(MIGRATIONS)).filter((name) => name.endsWith('.sql')),
  }
}

const tableOf = (name: string) => `
import { sqliteTable, text } from 'drizzle-orm/sqlite-core'
import { sharded } from '../../sharding/sharded-table.ts'

export const ${name} = sharded('users', sqliteTable('${name}', { id: text().primaryKey().notNull(), note: text() }))
`

test('a copy with two migrations of its own takes a new column and a new migration of the engine', () => {
  const original = clone(root, 'original')
  const copy = clone(path.join(folder, 'original'), 'copy')

  original.replace('src/jobs/schema.ts', 'kind: text().notNull(),', 'kind: text().notNull(),\n      note: text(),')
  original.run('npm run migrations:generate -- --name outbox_note')
  original.run(
    "npx drizzle-kit generate --custom --dialect sqlite --schema './src/**/schema.ts' --out ./migrations/shard --name more_views",
  )
  writeFileSync(original.file(`${MIGRATIONS}/${ofEngine}`), 'CREATE VIEW more_views AS SELECT slot FROM slots;\n')
  original.replace(ENGINE_LIST, "_changes_by_move.sql'", `_changes_by_move.sql', '${ofEngine}'`)
  original.run('npm run migrations:generate && git add --all && git commit --quiet --message later')

  for (const name of ['bookmarks', 'labels']) {
    mkdirSync(copy.file(`src/app/${name}`))
    writeFileSync(copy.file(`src/app/${name}/schema.ts`), tableOf(name))
    copy.run(`npm run migrations:generate -- --name ${name}`)
  }
  copy.run('git add --all && git commit --quiet --message own')
  const textOf = (name: string) => readFileSync(copy.file(`${MIGRATIONS}/${name}`), 'utf8')
  const texts = own.map(textOf)

  const [rename = ''] = commandsOf('1. Add the original', 1)
  const [merge = ''] = commandsOf('2. Merge', 1)
  const [restore = '', look = '', add = '', generate = ''] = commandsOf('3. Generate your own migrations', 4)
  copy.run(rename)
  copy.run(merge, [1]) // the merge conflicts
  copy.run(restore)
  expect(copy.run(look)).toContain(ofEngine)
  copy.run(add.replace('0005_more_views.sql', ofEngine).replace('NUMBER_more_views.sql', taken))
  copy.replace(ENGINE_LIST, ofEngine, taken)
  copy.run(generate)
  expect(copy.run(generate)).toContain('The migrations match the schema.')
  copy.run('git add --all && git commit --quiet --message upgrade')

  expect(copy.migrations().slice(-4)).toEqual([...own, taken, fileAfter(3, 'upstream')])
  expect(own.map(textOf)).toEqual(texts)
  const database = migratedDatabase(readMigrations(copy.file(MIGRATIONS)))
  expect(database.prepare('SELECT note FROM outbox').all()).toEqual([])
  expect(database.prepare('SELECT * FROM more_views').all()).toEqual([])
})
