/**
 * `npm run migrations:generate [-- --schema FILE … --out FOLDER] [--name what_it_adds]`: writes drizzle-kit's
 * migration, plus the fences of every sharded table. With `--schema` and `--out` it writes the migrations of another
 * application: its own tables, the engine's tables, and the engine's migrations that its folder lacks. Writes nothing
 * if the schema is already migrated. If a migration since the engine's first one has something that sharded tables do
 * not allow, it refuses and leaves the folder unchanged.
 */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { refuseStatements, refuseUnsafe } from '../src/cli/migrations/migration-rules.ts'
import { type Migration, migrationsFolder, readMigrations } from '../src/cli/migrations/shard-migrations.ts'
import { UserError } from '../src/cli/shell/errors.ts'
import { quotedName } from '../src/core/sql-text.ts'
import { engineMigrations, isSameMigration } from './engine-migrations.ts'
import {
  applicationSchemas,
  engineSchema,
  migratedDatabase,
  missingObjects,
  movedTables,
  refuseLongTails,
  shardedTables,
  wantedObjects,
} from './shard-schema.ts'

const root = path.resolve(import.meta.dirname, '..')

/** The statement as drizzle-kit writes it. */
const dropTable = /^DROP TABLE `([^`]+)`;(?:--> statement-breakpoint)?\n?/gm

interface Target {
  schemas: string[]
  folder: string
  /** Further arguments for drizzle-kit. */
  args: string[]
}

try {
  const target = targetOf(process.argv.slice(2))
  await unchangedIfItFails(target.folder, () => generate(target))
} catch (error) {
  console.error(error instanceof UserError ? `${error.message}\n${error.fix}` : error)
  process.exitCode = 1
}

/** Takes this command's own options out of the command line. */
function targetOf(given: string[]): Target {
  const values: Record<string, string[]> = { '--schema': [], '--out': [] }
  const args: string[] = []
  for (let index = 0; index < given.length; index++) {
    const [name, value] = given[index]!.split(/=(.*)/s) as [string, string?]
    if (values[name]) values[name].push(value ?? given[++index] ?? '')
    else args.push(given[index]!)
  }
  const [schemas, [out]] = [values['--schema']!, values['--out']!]
  if (schemas.length === 0 && out === undefined) return { schemas: applicationSchemas, folder: migrationsFolder, args }
  if (schemas.length === 0 || !out)
    throw new UserError(
      'Only one of --schema and --out was given.',
      'Pass both: --schema examples/notes/schema.ts --out examples/notes/migrations',
    )
  return { schemas: [engineSchema, ...schemas], folder: path.resolve(root, out), args }
}

async function unchangedIfItFails(folder: string, work: () => Promise<void>): Promise<void> {
  const isThere = existsSync(folder)
  const backup = mkdtempSync(path.join(tmpdir(), 'banyan-migrations-'))
  if (isThere) cpSync(folder, backup, { recursive: true })
  else mkdirSync(folder, { recursive: true })
  try {
    await work()
  } catch (error) {
    rmSync(folder, { recursive: true })
    if (isThere) cpSync(backup, folder, { recursive: true })
    throw error
  } finally {
    rmSync(backup, { recursive: true })
  }
}

async function generate({ schemas, folder, args }: Target): Promise<void> {
  const wanted = wantedObjects(await shardedTables(schemas))
  const drizzle = drizzleKit(schemas, folder)
  for (const { file, title, ...migration } of engineMigrations())
    if (!readMigrations(folder).some((one) => isSameMigration(one, migration)))
      copyFileSync(file, path.join(folder, drizzle.custom(['--name', title])))
  const added = drizzle.generate(args)
  if (added) keepTables(path.join(folder, added))
  refuseStatements(fromEngineOn(folder), readMigrations(folder))
  refuseKeptTables(readMigrations(folder), added)

  const database = migratedDatabase(readMigrations(folder))
  const missing = missingObjects(database, wanted)
  if (missing.length === 0) {
    refuseAll(folder)
    return void console.log(added ? `Wrote ${added}.` : 'The migrations match the schema.')
  }
  const isMade = database.prepare("SELECT type FROM sqlite_master WHERE name = ? AND type IN ('view', 'trigger')")
  // Dropping a view drops its triggers, so those are created again too.
  const remade = new Set(missing.map(({ name }) => name))
  const tableOf = database.prepare('SELECT tbl_name FROM sqlite_master WHERE name = ?')
  const lost = wanted.filter(({ name }) => {
    const row = tableOf.get(name) as { tbl_name: string } | undefined
    return row && row.tbl_name !== name && remade.has(row.tbl_name) && !remade.has(name)
  })
  const sql = [...missing, ...lost].flatMap(({ name, sql }) => {
    const made = isMade.get(name) as { type: string } | undefined
    return made && !lost.some((object) => object.name === name)
      ? [`DROP ${made.type.toUpperCase()} ${quotedName(name)};`, `${sql};`]
      : [`${sql};`]
  })
  // Here the migration has only fences. drizzle-kit still numbers it, so that its journal stays correct.
  const target = added ?? drizzle.custom(args.length > 0 ? args : ['--name', 'fences'])
  const file = path.join(folder, target)
  const text = sql.join('\n--> statement-breakpoint\n')
  if (existsSync(file) && added) appendFileSync(file, `\n--> statement-breakpoint\n${text}\n`)
  else writeFileSync(file, `${text}\n`)
  refuseAll(folder)
  console.log(`Wrote ${target} with ${missing.length} fences, views or triggers.`)
}

/** Refuses unsafe migrations, and tables that are too many for a move: with a schema, or kept without one. */
function refuseAll(folder: string): void {
  const migrations = readMigrations(folder)
  refuseUnsafe(fromEngineOn(folder), migrations)
  refuseLongTails(movedTables(migratedDatabase(migrations)))
}

/**
 * Deletes the statements that drop tables without a schema, such as those of a removed noun. The tables stay in the
 * shards, because the previous version still uses them and moves carry their rows.
 */
function keepTables(file: string): void {
  const text = readFileSync(file, 'utf8')
  const kept = [...text.matchAll(dropTable)].map(([, table]) => table)
  if (kept.length === 0) return
  const says = `-- These tables have no schema any more, and stay in every shard: ${kept.join(', ')}`
  const rest = text.replaceAll(dropTable, '')
  writeFileSync(file, `${says}\n${rest.trim() === '' ? 'SELECT 1;\n' : rest}`)
  console.log(`Kept: ${kept.join(', ')}. A table without a schema stays in every shard, with its rows.`)
}

/** A kept table cannot be created again. Throws UserError. */
function refuseKeptTables(migrations: Migration[], added: string | undefined): void {
  const database = migratedDatabase(migrations.filter(({ name }) => name !== added))
  const isThere = database.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?")
  for (const { statements } of migrations.filter(({ name }) => name === added))
    for (const [, table = ''] of statements.flatMap((sql) => [...sql.matchAll(/^CREATE TABLE `([^`]+)`/g)]))
      if (isThere.get(table))
        throw new UserError(
          `Every shard still has the table ${table}: it stayed when its schema was deleted.`,
          'Give the new table another name. If no deployed database has the migration that kept the table, you can instead restore the previous migrations folder with git checkout.',
        )
}

/** All migrations except those from before the application adopted the engine: they ran when no table was sharded. */
function fromEngineOn(folder: string): Migration[] {
  const [first] = engineMigrations()
  const migrations = readMigrations(folder)
  return migrations.slice(migrations.findIndex((migration) => isSameMigration(migration, first!)))
}

/** drizzle-kit, for these schemas and this folder. */
function drizzleKit(schemas: string[], folder: string) {
  const own = mkdtempSync(path.join(tmpdir(), 'banyan-drizzle-'))
  process.on('exit', () => rmSync(own, { recursive: true }))
  const config = path.join(own, 'drizzle.config.json')
  // drizzle-kit resolves paths from the project's folder.
  const out = `./${path.relative(root, folder)}`
  writeFileSync(config, JSON.stringify({ dialect: 'sqlite', schema: schemas, out }))
  /** Returns the name of the migration that the command adds. */
  const run = (args: string[], stdio: 'inherit' | 'ignore'): string | undefined => {
    const before = new Set(readdirSync(folder))
    execFileSync('drizzle-kit', ['generate', '--config', config, ...args], {
      cwd: root,
      stdio: ['inherit', stdio, 'inherit'],
    })
    return readdirSync(folder).find((name) => name.endsWith('.sql') && !before.has(name))
  }
  return {
    generate: (args: string[]) => run(args, 'inherit'),
    /** Adds an empty one. */
    custom(args: string[]): string {
      const added = run(['--custom', ...args], 'ignore')
      if (!added) throw new Error('drizzle-kit created no migration to write into')
      return added
    },
  }
}
