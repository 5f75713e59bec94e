import { existsSync, globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { getTableName, is } from 'drizzle-orm'
import { SQLiteTable } from 'drizzle-orm/sqlite-core'
import { describe, expect, test } from 'vitest'
import { Objects } from '../../../src/assets/objects.ts'
import { type RestoreContribution, restoredBy } from '../../../src/cli/restore/noun.ts'
import { fromNouns } from '../../../src/cli/shell/nouns.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { nouns } from '../../../workers/nouns.ts'

const root = path.resolve(import.meta.dirname, '../../..')
const noBucket = { get: async () => null, put: async () => null } as unknown as R2Bucket
const jobOptions = {
  signingKey: 'k',
  sendMail: async () => undefined,
  objects: new Objects(noBucket, systemClock),
  images: { transform: async () => new Uint8Array() },
  pictureChanged: () => [],
  purgesOf: () => [],
}

test('src/app/nouns.ts lists every folder of src/app', () => {
  const folders = globSync('src/app/*/', { cwd: root }).map((folder) => path.basename(folder))
  expect(nouns.map(({ name }) => name).toSorted()).toEqual(folders.filter((name) => !name.includes('.')).toSorted())
})

test('outside src/app, only src/app/nouns.ts names a noun', () => {
  const named = new RegExp(`/app/(${nouns.map(({ name }) => name).join('|')})/`)
  const sources = globSync(['workers/*.ts', 'src/!(app)/**/*.{ts,tsx}'], { cwd: root })
  expect(sources.filter((file) => named.test(readFileSync(path.join(root, file), 'utf8')))).toEqual([])
})

describe.each(nouns)('$name', ({ name, tables }) => {
  test('has its own tests in the runtime', () => {
    const tests = globSync(`test/workerd/${name}/*.test.ts`, { cwd: root })
    expect(tests, `write test/workerd/${name}/${name}.test.ts (docs/building/noun.md, step 7)`).not.toEqual([])
  })

  test('names the tables of its schema', async () => {
    const file = path.join(root, `src/app/${name}/schema.ts`)
    const schema: Record<string, unknown> = existsSync(file) ? await import(file) : {}
    const found = Object.values(schema).filter((value) => is(value, SQLiteTable))
    expect(tables.toSorted()).toEqual(found.map(getTableName).toSorted())
  })
})

test('no two nouns share a kind of job, a count or a table of users', () => {
  const kinds = nouns.flatMap(({ jobs }) => Object.keys(jobs?.(jobOptions) ?? {}))
  const counts = nouns.flatMap(({ userCounts = {} }) => Object.keys(userCounts))
  expect(kinds.length).toBeGreaterThan(0)
  for (const names of [kinds, counts]) expect(names).toEqual([...new Set(names)])
  expect(nouns.filter(({ usersTable }) => usersTable).length).toBeLessThanOrEqual(1)
})

test('each kind of claim has one noun whose rows hold it, because a restore compares no other claims', async () => {
  const claimed = globSync('src/app/**/*.{ts,tsx}', { cwd: root })
    .flatMap((file) => [...readFileSync(path.join(root, file), 'utf8').matchAll(/\{ kind: '(\w+)', value: /g)])
    .flatMap(([, kind]) => kind ?? [])
  const declared = nouns.flatMap(({ claims = [] }) => claims).toSorted()
  expect(claimed.length).toBeGreaterThan(0)
  expect([...new Set(claimed)].toSorted()).toEqual(declared)
  const { holders } = restoredBy(await fromNouns<RestoreContribution>('restore'))
  expect(holders.flatMap(({ kinds }) => kinds).toSorted()).toEqual(declared)
})

/** The nouns that a noun's files import. */
const importedNouns = (name: string): Set<string> =>
  new Set(
    globSync(`src/app/${name}/*.{ts,tsx}`, { cwd: root })
      .flatMap((file) => [...readFileSync(path.join(root, file), 'utf8').matchAll(/from '\.\.\/([a-z-]+)\//g)])
      .flatMap(([, imported]) => imported ?? []),
  )

test('nouns do not import each other, because a page has slots that other nouns fill', () => {
  const names = nouns.map(({ name }) => name)
  expect(names.flatMap((name) => [...importedNouns(name)])).not.toEqual([])
  const mutual = names.filter((name) => [...importedNouns(name)].some((other) => importedNouns(other).has(name)))
  expect(mutual).toEqual([])
})
