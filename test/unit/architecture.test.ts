import { globSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'

/**
 * The modules that each room may import (docs/contributing.md). A room may import itself and its own parts; `workers`
 * assembles all rooms and may import all.
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

/** The rooms whose types a room may import (`import type`) although it may not import their code. */
const mayImportTypes: Record<string, string[]> = {
  cli: ['src/console/shapes.ts'],
}

/** A noun's contribution to a command. Only the command finds it, by its name, so it is not part of the Worker. */
const operatorFile = /^src\/app\/[^/]+\/(load|import|restore)\.operator\.ts$/

/**
 * The one room of each kind of binding. `workers` also reads the binding from `env`, and `cli` opens local ones through
 * wrangler.
 */
const bindingRooms: Record<string, string> = {
  'D1(?:Database|PreparedStatement|DatabaseSession)': 'sharding',
  KVNamespace: 'cache',
  R2Bucket: 'assets',
  ImagesBinding: 'assets',
  'Queue|MessageBatch': 'jobs',
  DurableObjectNamespace: 'objects',
  SendEmail: 'workers',
  RateLimit: 'workers',
}

/** Rooms that read the application's built static files. */
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
  /** True if the whole statement imports only types, so it does not exist at run time. */
  isTypes: boolean
}

const importStatement = /\b(?:import|export)(\s+type)?\b[^'"`;]*?\bfrom\s*'(\.[^']+)'|\bimport\s*\(?\s*'(\.[^']+)'/g

const importsOf = (file: string, text: string): Import[] =>
  [...text.matchAll(importStatement)].map(([, type, from, alone]) => ({
    imported: path.relative(root, path.resolve(root, path.dirname(file), (from ?? alone)!)),
    isTypes: type !== undefined,
  }))

test('there are imports to check', () => {
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

test('no file imports a noun’s contribution to a command, because the command finds it by its name', () => {
  const importers = sources.filter(({ file, text }) =>
    importsOf(file, text).some(({ imported }) => operatorFile.test(imported)),
  )
  expect(importers.map(({ file }) => file)).toEqual([])
})

/** The rooms that an application on the engine alone uses, besides its own files. */
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

test('the engine imports only itself, so an example needs no other room', () => {
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

test('each kind of import is recognised', () => {
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

test('a cycle is found, without files that only lead to it or away from it', () => {
  const graph = { a: ['b'], b: ['c', 'd'], c: ['b'], d: ['e'], e: [], f: ['g'], g: ['h'], h: ['f', 'a'] }
  expect(cyclesIn(new Map(Object.entries(graph)))).toEqual([
    ['b', 'c'],
    ['f', 'g', 'h'],
  ])
})

/**
 * The strongly connected components of more than one file: each file with all files that it reaches and that reach it.
 */
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

/** Operations that write in a user's slot without a session, and why. */
const writesWithoutSession: Record<string, string> = {
  'sign-up.begin': 'there is no account yet',
  'sign-up.commit': 'it creates the account, with its first session',
  'sign-up.resume': 'the sign-up that created the account is repeated',
  'accounts.attempt-log-in': 'it only counts the attempt, before the password is checked',
  'accounts.log-in': 'it creates the session, on condition of the password',
  'accounts.rehash': 'after a log-in, on condition of the password that was read',
  'accounts.verify-email': 'on condition of a mailed token',
  'accounts.request-reset': 'it only sends a mail to the address',
  'accounts.reset-password': 'on condition of a mailed token',
  'notices.unsubscribe': 'on condition of a signed link in a mail',
  'emails.commit': 'on condition of a mailed token',
  'emails.read-attempts': 'it only reads',
  'jobs.show': 'it only reads',
  'media.keep-sweep-position': 'the cron keeps its position, in no user’s row',
  'media.make-again': 'the cron lets a job make lost objects again',
}

/**
 * If a database is kept in a variable, this test cannot see what is sent to it. If it is used at once, the call must be
 * a query.
 */
const openedElsewhere = /\.of\([^{}()]+, \{([^}]*)\}\)(?!\s*\.prepare\(\s*[`']?(?:\$\{)?SELECT)/g

test('the sample writes for a session only through sessions.database; one list has the exceptions', () => {
  const found = sources
    .filter(({ room }) => room === 'app')
    .flatMap(({ text }) => [...withoutComments(text).matchAll(openedElsewhere)].map(([, options]) => options!))
    .map((options) => /operation: '([^']+)'/.exec(options)?.[1] ?? options)
  expect(found.toSorted()).toEqual(Object.keys(writesWithoutSession).toSorted())
})

/** Schemas that a route validates with are in separate files, so that other modules import them without the route. */
test('no routes export shapes', () => {
  const exporting = sources.filter(
    ({ file, text }) =>
      /routes\.tsx?$/.test(file) && /^export const \w+ = (?:z\b|\w+Shape\b)/m.test(withoutComments(text)),
  )
  expect(exporting.map(({ file }) => file)).toEqual([])
})

test.each(Object.entries(bindingRooms))('%s is named only in %s', (type, room) => {
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
