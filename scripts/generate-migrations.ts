/**
 * `npm run migrations:generate [-- --name what_it_adds]`: drizzle-kit's migration, plus the fences of every sharded
 * table. Writes nothing when the schema is already migrated. Refuses what sharded tables can't take, in all migrations, and
 * then leaves the folder as it was.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, cpSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { UserError } from '../src/cli/errors.ts'
import { refuseStatements, refuseUnsafe } from '../src/cli/migration-rules.ts'
import { migrationsFolder, readMigrations } from '../src/cli/shard-migrations.ts'
import { quotedName } from '../src/core/sql-text.ts'
import { migratedDatabase, missingObjects, shardedTables, wantedObjects } from './shard-schema.ts'

const backup = mkdtempSync(path.join(tmpdir(), 'banyan-migrations-'))
cpSync(migrationsFolder, backup, { recursive: true })
try {
  await generate(process.argv.slice(2))
} catch (error) {
  rmSync(migrationsFolder, { recursive: true })
  cpSync(backup, migrationsFolder, { recursive: true })
  console.error(error instanceof UserError ? `${error.message}\n${error.howToMend}` : error)
  process.exitCode = 1
} finally {
  rmSync(backup, { recursive: true })
}

async function generate(args: string[]): Promise<void> {
  const wanted = wantedObjects(await shardedTables())
  const before = new Set(readdirSync(migrationsFolder))
  const { status } = spawnSync('drizzle-kit', ['generate', ...args], { stdio: 'inherit' })
  if (status !== 0) throw new UserError('drizzle-kit generate failed.', 'Fix what it names above, and run this again.')
  const added = readdirSync(migrationsFolder).find((name) => name.endsWith('.sql') && !before.has(name))
  refuseStatements(readMigrations(), readMigrations())

  const database = migratedDatabase()
  const missing = missingObjects(database, wanted)
  if (missing.length === 0) {
    refuseUnsafe(readMigrations(), readMigrations())
    return void console.log(added ? `Wrote ${added}.` : 'The migrations match the schema.')
  }
  const isMade = database.prepare("SELECT type FROM sqlite_master WHERE name = ? AND type IN ('view', 'trigger')")
  // Dropping a view drops its triggers, so they are made again with it.
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
  const target = added ?? customMigration(args)
  const file = path.join(migrationsFolder, target)
  const text = sql.join('\n--> statement-breakpoint\n')
  if (existsSync(file) && added) appendFileSync(file, `\n--> statement-breakpoint\n${text}\n`)
  else writeFileSync(file, `${text}\n`)
  refuseUnsafe(readMigrations(), readMigrations())
  console.log(`Wrote ${target} with ${missing.length} fences, views or triggers.`)
}

/** A migration that only fences: drizzle-kit numbers it, so that its journal stays right. */
function customMigration(args: string[]): string {
  const before = new Set(readdirSync(migrationsFolder))
  execFileSync('drizzle-kit', ['generate', '--custom', ...(args.length > 0 ? args : ['--name', 'fences'])])
  const added = readdirSync(migrationsFolder).find((name) => name.endsWith('.sql') && !before.has(name))
  if (!added) throw new Error('drizzle-kit made no migration to put the fences in')
  return added
}
