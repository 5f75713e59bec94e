import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { readMigrations } from '../../src/cli/migrations/shard-migrations.ts'
import { root } from '../../src/cli/shell/root.ts'
import { migrateLocalShards, withDatabases } from '../../src/cli/wrangler/local-shards.ts'
import { blockOf, type ShardBinding } from '../../src/cli/wrangler/shard-bindings.ts'
import { slotOf } from '../../src/core/ids.ts'
import { adoptingFences } from '../support/adopting-page.ts'
import { ask, moveSlots, newNotebook, notesFolder, notesOf } from '../support/notes.ts'
import { WorkerProcess } from '../support/worker-process.ts'

// Turns an application with one database into a sharded one, with the code of docs/adopting.md.

const AUTHORS = 12
const ENTRIES = 250
const VARS = { OPERATOR_TOKEN: 'an-operator-of-notes', LEASE_MS: '300', GRACE_MS: '600', MOVE_SHARE: '1' }

const fences = adoptingFences()
const fence = (title: string): string => fences.find((one) => one.title === title)!.code
const command = (way: 'first' | 'import'): string =>
  fences.filter(({ code }) => code.startsWith('npm run migrations:generate'))[way === 'first' ? 0 : 1]!.code

let server: WorkerProcess | null = null
afterEach(async () => {
  await server?.stop()
  server = null
})

const database = (binding: string, number: number): ShardBinding => ({
  binding,
  databaseName: `adopted-${number}`,
  databaseId: `00000000-0000-4000-8000-00000000020${number}`,
})

/** The application's folder, in which the page's code is the application's. */
function adopting(way: 'first' | 'import') {
  const name = `dist/adopting-${way}`
  const folder = path.join(root, name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, 'old-schema.ts'), fence('old-schema.ts'))
  const migrations = path.join(folder, 'migrations')
  const persistTo = path.join(folder, 'state')
  const config = path.join(folder, 'wrangler.toml')
  return {
    folder,
    config,
    persistTo,
    /** The application's earlier migrations: its table, as drizzle-kit writes it. */
    oldMigrations(out: string) {
      execFileSync(
        'npx',
        ['drizzle-kit', 'generate', '--dialect', 'sqlite', '--schema', `${name}/old-schema.ts`, '--out', out],
        { cwd: root, stdio: 'ignore' },
      )
      return readMigrations(path.join(root, out))
    },
    /** Steps 1 to 3, 5 and 6. */
    takeEngineIn() {
      copyFileSync(path.join(notesFolder, 'schema.ts'), path.join(folder, 'schema.ts'))
      writeFileSync(path.join(folder, 'adopt.ts'), fence('adopt.ts'))
      const route = fence('added to main.ts').replaceAll('SHARD_000', way === 'first' ? 'SHARD_000' : 'OLD')
      const main = readFileSync(path.join(notesFolder, 'main.ts'), 'utf8')
      writeFileSync(path.join(folder, 'main.ts'), main.replace('export default {', `${route}\nexport default {`))
      const run = spawnSync('bash', ['-c', command(way).replaceAll('examples/notes', name)], {
        cwd: root,
        encoding: 'utf8',
      })
      expect(run.status, run.stderr).toBe(0)
      writeFileSync(
        path.join(folder, 'tsconfig.json'),
        JSON.stringify({ extends: '../../tsconfig.json', include: ['*.ts'] }),
      )
      const types = spawnSync('npx', ['tsc', '-p', folder], { cwd: root, encoding: 'utf8' })
      expect(types.stdout).toBe('')
    },
    /** Step 4 and the deployment. */
    async deploy(databases: ShardBinding[]): Promise<URL> {
      await server?.stop()
      const toml = [
        'name = "adopted"\nmain = "main.ts"\ncompatibility_date = "2026-10-23"\ncompatibility_flags = ["nodejs_compat"]\n\n',
        ...databases.map(blockOf),
        fence('examples/notes/wrangler.toml'),
      ].join('\n')
      writeFileSync(config, toml)
      await migrateLocalShards(config, persistTo, readMigrations(migrations))
      server = await WorkerProcess.wranglerDev(config, persistTo, VARS)
      return server.url
    },
  }
}

/** The old database with its table and rows. */
async function fillOld(old: ShardBinding, persistTo: string, migrations: ReturnType<typeof readMigrations>) {
  await withDatabases([old], persistTo, async ([shard]) => {
    await shard!.applied()
    const rows = Array.from({ length: ENTRIES }, (_, n) => ({ author: `author ${n % AUTHORS}`, text: `entry ${n}` }))
    const insert = {
      name: migrations.at(-1)!.name,
      statements: [
        ...migrations.flatMap(({ statements }) => statements),
        ...rows.map(
          ({ author, text }, n) =>
            `INSERT INTO entries (author, text, created_at) VALUES ('${author}', '${text}', ${n + 1})`,
        ),
      ],
    }
    await shard!.apply(insert)
  })
}

async function adopt(url: URL): Promise<void> {
  for (let cursor: number | null = 0; cursor !== null; )
    cursor = (await ask<{ next: number | null }>(url, 'POST', '/operator/adopt', { cursor })).next
}

/** Expects each author's notebook to have exactly the author's entries, in the order of writing. */
async function expectAdopted(url: URL, folder: string): Promise<string[]> {
  const { notebookOfAuthor } = (await import(path.join(folder, 'adopt.ts'))) as {
    notebookOfAuthor(author: string): string
  }
  const notebooks = Array.from({ length: AUTHORS }, (_, author) => notebookOfAuthor(`author ${author}`))
  for (const [author, notebook] of notebooks.entries()) {
    const texts = (await notesOf(url, notebook)).map(({ text }) => text)
    const wanted = Array.from({ length: ENTRIES }, (_, n) => n).filter((n) => n % AUTHORS === author)
    expect(texts.toSorted()).toEqual(wanted.map((n) => `entry ${n}`).toSorted())
  }
  return notebooks
}

test('the existing database becomes the first shard, and half of its slots move to a second', async () => {
  const app = adopting('first')
  const old = database('SHARD_000', 0)
  const before = app.oldMigrations('dist/adopting-first/migrations')
  await fillOld(old, app.persistTo, before)
  const sql = readFileSync(path.join(app.folder, 'migrations', before[0]!.name), 'utf8')

  app.takeEngineIn()
  expect(readFileSync(path.join(app.folder, 'migrations', before[0]!.name), 'utf8')).toBe(sql)
  const alone = await app.deploy([old])
  await adopt(alone)
  const own = await newNotebook(alone)
  await ask(alone, 'POST', `/notebooks/${own}/notes`, { text: 'written meanwhile' })
  await adopt(alone)
  await expectAdopted(alone, app.folder)

  const url = await app.deploy([old, database('SHARD_001', 1)])
  await ask(url, 'POST', '/operator/shards', { binding: 'SHARD_001' })
  await moveSlots(url, '8000-ffff', 'shard-001')
  const notebooks = await expectAdopted(url, app.folder)
  expect((await notesOf(url, own)).map(({ text }) => text)).toEqual(['written meanwhile'])
  expect(notebooks.some((notebook) => slotOf(notebook) >= '8000')).toBe(true)
})

test('the existing database is imported into two new shards', async () => {
  const app = adopting('import')
  const old = database('SHARD_000', 2)
  await fillOld(old, app.persistTo, app.oldMigrations('dist/adopting-import/old-migrations'))

  app.takeEngineIn()
  expect(readdirSync(path.join(app.folder, 'migrations')).filter((name) => name.endsWith('.sql'))).toHaveLength(4)
  const url = await app.deploy([{ ...old, binding: 'OLD' }, database('SHARD_000', 3), database('SHARD_001', 4)])
  await adopt(url)
  await adopt(url)
  const notebooks = await expectAdopted(url, app.folder)
  expect(new Set(notebooks.map((notebook) => slotOf(notebook) < '8000'))).toEqual(new Set([true, false]))
})
