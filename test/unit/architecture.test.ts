import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'

/**
 * Who may import whom (docs/contributing.md). A room may import itself and what stands behind its name; `workers`
 * assembles and may import all.
 */
const mayImport: Record<string, string[]> = {
  core: [],
  sharding: ['core'],
  cache: ['core'],
  assets: ['core'],
  metrics: ['core', 'sharding'],
  resharding: ['core', 'sharding'],
  objects: ['core', 'sharding', 'resharding'],
  sessions: ['core', 'sharding', 'cache'],
  jobs: ['core', 'sharding'],
  web: ['core', 'sharding', 'cache', 'assets', 'metrics', 'sessions', 'jobs'],
  app: ['core', 'sharding', 'cache', 'assets', 'metrics', 'sessions', 'jobs', 'web'],
  console: ['core', 'sharding', 'resharding', 'cache', 'assets', 'metrics', 'sessions', 'jobs', 'web'],
  cli: ['core'],
}

/** What a room may have the types of (`import type`), though it may not import it. */
const mayImportTypes: Record<string, string[]> = {
  cli: ['src/console/shapes.ts'],
}

/** What a noun contributes to a command. Only the command finds it, by its name, so it is not in the Worker. */
const operatorFile = /^src\/app\/[^/]+\/(load|import|restore)\.operator\.ts$/

/** Each kind of binding has one room; `workers` reads them from `env`, and `cli` opens local ones through wrangler. */
const bindingRooms: Record<string, string> = {
  'D1(?:Database|PreparedStatement|DatabaseSession)': 'sharding',
  KVNamespace: 'cache',
  R2Bucket: 'assets',
  'Queue|MessageBatch': 'jobs',
  DurableObjectNamespace: 'objects',
  SendEmail: 'workers',
  RateLimit: 'workers',
}

/** These read what is built of the application: its static files. */
const readBuilt = ['assets', 'cli']

const root = path.resolve(import.meta.dirname, '../..')
const sources = globSync('{src,workers}/**/*.{ts,tsx}', { cwd: root, exclude: (name) => name === 'client' })
  .sort()
  .map((file) => ({ file, room: roomOf(file), text: readFileSync(path.join(root, file), 'utf8') }))

function roomOf(file: string): string {
  const [top, room] = file.split(path.sep)
  return top === 'workers' ? 'workers' : room!
}

interface Import {
  imported: string
  /** Its whole statement is of types, and is gone when the code runs. */
  isTypes: boolean
}

const importStatement = /\b(?:import|export)(\s+type)?\b[^'"`;]*?\bfrom\s*'(\.[^']+)'|\bimport\s*\(?\s*'(\.[^']+)'/g

const importsOf = (file: string, text: string): Import[] =>
  [...text.matchAll(importStatement)].map(([, type, from, alone]) => ({
    imported: path.relative(root, path.resolve(root, path.dirname(file), (from ?? alone)!)),
    isTypes: type !== undefined,
  }))

test('there is something to look at', () => {
  expect(sources.length).toBeGreaterThan(50)
})

test.each(sources.filter(({ room }) => room !== 'workers'))(
  '$file imports only what its room may',
  ({ file, room, text }) => {
    const allowed = mayImport[room]
    expect(allowed, `a room called ${room} is not in the layout`).toBeDefined()
    const foreign = importsOf(file, text)
      .filter(({ imported }) => !(imported.startsWith('dist') && readBuilt.includes(room)))
      .filter(({ imported }) => roomOf(imported) !== room && !allowed!.includes(roomOf(imported)))
      .filter(({ imported, isTypes }) => !(isTypes && mayImportTypes[room]?.includes(imported)))
      .filter(({ imported }) => !(operatorFile.test(file) && imported.startsWith('src/cli/')))
    expect(foreign).toEqual([])
  },
)

test('nobody imports what a noun contributes to a command: it is found by its name', () => {
  const importers = sources.filter(({ file, text }) =>
    importsOf(file, text).some(({ imported }) => operatorFile.test(imported)),
  )
  expect(importers.map(({ file }) => file)).toEqual([])
})

/** What an application on the engine alone is made of, beside its own files. */
const engineRooms = ['core', 'sharding', 'resharding', 'objects']
const examplePackages = /^(hono|drizzle-orm)(\/|$)/
const EXAMPLE_LINES_MAX = 150

const examples = globSync('examples/*/*.ts', { cwd: root }).map((file) => ({
  file,
  text: readFileSync(path.join(root, file), 'utf8'),
}))

test.each(examples)('$file imports only the engine, Hono and Drizzle', ({ file, text }) => {
  const own = path.dirname(file)
  const imports = importsOf(file, text).map(({ imported }) => imported)
  const foreign = imports.filter(
    (imported) =>
      !imported.startsWith(`${own}${path.sep}`) &&
      !(imported.startsWith('src') && engineRooms.includes(roomOf(imported))),
  )
  const packages = [...text.matchAll(/(?:from|import)\s*\(?\s*'([^.'][^']*)'/g)].map((match) => match[1]!)
  expect([...foreign, ...packages.filter((name) => !examplePackages.test(name))]).toEqual([])
})

test('the engine imports nothing but itself, so that an example brings no more', () => {
  for (const room of engineRooms) expect(mayImport[room]!.filter((other) => !engineRooms.includes(other))).toEqual([])
})

test('the example notes is small', () => {
  const lines = examples.reduce((sum, { text }) => sum + text.split('\n').length - 1, 0)
  expect(examples.map(({ file }) => file).sort()).toEqual(['examples/notes/main.ts', 'examples/notes/schema.ts'])
  expect(lines).toBeLessThanOrEqual(EXAMPLE_LINES_MAX)
})

test('every import names its file with its extension', () => {
  const bare = sources.flatMap(({ file, text }) =>
    importsOf(file, text)
      .filter(({ imported }) => !/\.(ts|tsx)$/.test(imported))
      .map(({ imported }) => `${file}: ${imported}`),
  )
  expect(bare).toEqual([])
})

test('each kind of import is seen', () => {
  const text = `import './a.ts'
import type { B } from './b.ts'
import {
  c,
  type D,
} from './c.ts'
export type { E } from './e.ts'
export { f } from './f.ts'
export const g = await import('./g.ts')`
  expect(importsOf('src/core/x.ts', text).map(({ imported, isTypes }) => [path.basename(imported), isTypes])).toEqual([
    ['a.ts', false],
    ['b.ts', true],
    ['c.ts', false],
    ['e.ts', true],
    ['f.ts', false],
    ['g.ts', false],
  ])
})

test('no files import each other in a cycle, not even for types', () => {
  expect(
    cyclesIn(new Map(sources.map(({ file, text }) => [file, importsOf(file, text).map(({ imported }) => imported)]))),
  ).toEqual([])
})

test('a cycle is found, and what only leads to it or away from it is not in it', () => {
  const graph = { a: ['b'], b: ['c', 'd'], c: ['b'], d: ['e'], e: [], f: ['g'], g: ['h'], h: ['f', 'a'] }
  expect(cyclesIn(new Map(Object.entries(graph)))).toEqual([
    ['b', 'c'],
    ['f', 'g', 'h'],
  ])
})

/** The strongly connected components of more than one file: each file with all that it reaches and that reach it. */
function cyclesIn(imports: Map<string, string[]>): string[][] {
  const reached = new Map([...imports.keys()].map((file) => [file, reachableFrom(file, imports)]))
  const cycles = new Map<string, string[]>()
  for (const [file, others] of reached) {
    if (!others.has(file)) continue
    const cycle = [...others].filter((other) => reached.get(other)?.has(file)).sort()
    cycles.set(cycle.join(' '), cycle)
  }
  return [...cycles.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, cycle]) => cycle)
}

function reachableFrom(file: string, imports: Map<string, string[]>): Set<string> {
  const reached = new Set<string>()
  const waiting = [...(imports.get(file) ?? [])]
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (reached.has(next)) continue
    reached.add(next)
    waiting.push(...(imports.get(next) ?? []))
  }
  return reached
}

/** Who writes in a user's slot without a session, and why. */
const writesWithoutSession: Record<string, string> = {
  'sign-up.begin': 'there is no account yet',
  'sign-up.commit': 'it makes the account, with its first session',
  'sign-up.resume': 'the sign-up that made the account comes again',
  'accounts.log-in': 'it makes the session; a password is its condition',
  'accounts.rehash': 'after a log-in; the password that was read is its condition',
  'accounts.verify-email': 'a mailed token is its condition',
  'accounts.request-reset': 'it only mails the address',
  'accounts.reset-password': 'a mailed token is its condition',
}

/** Of a database that is kept in a variable nobody knows what is sent to it; one that is asked at once must be sent a query. */
const openedElsewhere = /\.of\([^{}()]+, \{([^}]*)\}\)(?!\s*\.prepare\(\s*[`']?(?:\$\{)?SELECT)/g

test('the sample writes for a session by sessions.database only: the exceptions are in one list', () => {
  const found = sources
    .filter(({ room }) => room === 'app')
    .flatMap(({ text }) => [...withoutComments(text).matchAll(openedElsewhere)].map(([, options]) => options!))
    .map((options) => /operation: '([^']+)'/.exec(options)?.[1] ?? options)
  expect(found.toSorted()).toEqual(Object.keys(writesWithoutSession).toSorted())
})

/** What a route checks by is written apart from it, so that others import it without the route. */
test('no routes export shapes', () => {
  const exporting = sources.filter(
    ({ file, text }) =>
      /routes\.tsx?$/.test(file) && /^export const \w+ = (?:z\b|\w+Shape\b)/m.test(withoutComments(text)),
  )
  expect(exporting.map(({ file }) => file)).toEqual([])
})

test.each(Object.entries(bindingRooms))('%s is spoken of in %s only', (type, room) => {
  const pattern = new RegExp(`(?<![\\w'./])(?:${type})\\b(?!['\`])`)
  const elsewhere = sources
    .filter((source) => ![room, 'workers', 'cli'].includes(source.room))
    .filter(({ text }) => pattern.test(withoutComments(text)))
  expect(elsewhere.map(({ file }) => file)).toEqual([])
})

test('only workers read env', () => {
  const readers = sources.filter(({ room, text }) => room !== 'workers' && /\benv\.[A-Z]/.test(withoutComments(text)))
  expect(readers.filter(({ room }) => room !== 'cli').map(({ file }) => file)).toEqual([])
})

const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/\/\/.*$/gm, '')
