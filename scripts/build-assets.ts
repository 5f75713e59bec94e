/**
 * `node scripts/build-assets.ts [--source src/web/client] [--dist dist]`: builds the static files under names with a
 * content hash, a module that lists them, and modules that list the migrations and the sharded tables. The same sources
 * give the same bytes. An unchanged file is not rewritten, so `wrangler dev` does not restart needlessly.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { build } from 'esbuild'
import { contentTypes, type StaticExtension } from '../src/assets/static-files.ts'
import { readMigrations } from '../src/cli/migrations/shard-migrations.ts'
import { readOptions } from './options.ts'
import { shardedTables } from './shard-schema.ts'

const HASH_DIGITS = 16 // of 64; src/assets/static-files.ts serves names of this form

/** One built file: `path` is the path of its URL, `etag` includes the quotes. */
export interface BuiltAsset {
  path: string
  type: string
  bytes: number
  etag: string
}

export type AssetManifest = Record<string, BuiltAsset>

interface AssetContent {
  name: string
  bytes: Uint8Array
}

/**
 * Builds `main.ts`, `style.css` and `icon.svg` of `sourceDir` into `<distDir>/assets/assets/`, writes
 * `<distDir>/asset-manifest.ts` and deletes every other file in `<distDir>/assets`. Returns the manifest by plain name.
 * Throws esbuild's error, with file and line, if a source does not compile, and ENOENT if one is missing.
 */
export async function buildAssets(sourceDir: string, distDir: string): Promise<AssetManifest> {
  const contents = await compile(sourceDir)
  const assetsDir = path.join(distDir, 'assets')
  const manifest: AssetManifest = {}
  for (const content of contents) {
    const asset = describe(content)
    manifest[content.name] = asset
    writeIfChanged(path.join(assetsDir, asset.path), content.bytes)
  }
  writeIfChanged(path.join(distDir, 'asset-manifest.ts'), Buffer.from(manifestModule(manifest)))
  removeOthers(assetsDir, manifest)
  return manifest
}

async function compile(sourceDir: string): Promise<AssetContent[]> {
  const icon = readFileSync(path.join(sourceDir, 'icon.svg'))
  const { outputFiles } = await build({
    entryPoints: [path.join(sourceDir, 'main.ts'), path.join(sourceDir, 'style.css')],
    outdir: sourceDir, // only names the outputs: esbuild writes nothing
    write: false,
    bundle: true,
    minify: true,
    charset: 'utf8',
    format: 'iife',
    target: 'es2022',
    logLevel: 'silent', // the thrown error has the details
  })
  const compiled = outputFiles.map((file) => ({ name: path.basename(file.path), bytes: file.contents }))
  return [...compiled, { name: 'icon.svg', bytes: icon }].sort((a, b) => (a.name < b.name ? -1 : 1))
}

function describe({ name, bytes }: AssetContent): BuiltAsset {
  const { name: stem, ext } = path.parse(name)
  const hash = createHash('sha256').update(bytes).digest('hex').slice(0, HASH_DIGITS)
  return {
    path: `/assets/${stem}.${hash}${ext}`,
    type: contentTypes[ext.slice(1) as StaticExtension],
    bytes: bytes.byteLength,
    etag: `"${hash}"`,
  }
}

function manifestModule(manifest: AssetManifest): string {
  const line = ([name, { path, type, bytes, etag }]: [string, BuiltAsset]) =>
    `  '${name}': { path: '${path}', type: '${type}', bytes: ${bytes}, etag: '${etag}' },\n`
  const lines = Object.entries(manifest).map(line).join('')
  return `// Written by scripts/build-assets.ts.\nexport const manifest = {\n${lines}} as const\n`
}

/** The migrations that this version was built with. The Worker uses them to report shards that lag behind. */
function migrationsModule(names: string[]): string {
  return `// Written by scripts/build-assets.ts.\nexport const migrations = ${JSON.stringify(names)} as const\n`
}

/** The sharded tables by keyspace, from the schemas that the migrations are generated from. */
async function tablesModule(): Promise<string> {
  const groups = Map.groupBy(await shardedTables(), ({ keyspace }) => keyspace)
  const lines = [...groups].map(([keyspace, tables]) => {
    const names = tables.map(({ name }) => name).sort()
    return `  ${JSON.stringify(keyspace)}: ${JSON.stringify(names)},\n`
  })
  return `// Written by scripts/build-assets.ts.\nexport const tables = {\n${lines.join('')}}\n`
}

function writeIfChanged(file: string, bytes: Uint8Array): void {
  if (existsSync(file) && readFileSync(file).equals(bytes)) return
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, bytes)
}

function removeOthers(assetsDir: string, manifest: AssetManifest): void {
  const wanted = new Set(Object.values(manifest).map((asset) => path.join(assetsDir, asset.path)))
  for (const entry of readdirSync(assetsDir, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name)
    if (!entry.isDirectory() && !wanted.has(file)) rmSync(file)
  }
}

async function main(): Promise<void> {
  const root = path.resolve(import.meta.dirname, '..')
  const values = readOptions({
    source: { type: 'string', default: path.join(root, 'src/web/client') },
    dist: { type: 'string', default: path.join(root, 'dist') },
  })
  const manifest = await buildAssets(path.resolve(values.source), path.resolve(values.dist))
  const names = readMigrations().map(({ name }) => name)
  writeIfChanged(path.join(values.dist, 'migrations.ts'), Buffer.from(migrationsModule(names)))
  writeIfChanged(path.join(values.dist, 'tables.ts'), Buffer.from(await tablesModule()))
  for (const asset of Object.values(manifest)) console.log(`${asset.path}  ${asset.bytes} bytes`)
}

if (process.argv[1] === import.meta.filename) {
  try {
    await main()
  } catch (error) {
    console.error(`Could not build the static files:\n${error instanceof Error ? error.message : error}`)
    process.exitCode = 1
  }
}
