/**
 * `npm run size`: bundles the Worker like a deployment, without deploying, and prints the sizes of the Worker and of
 * the client's files, raw and gzipped. Exits 1 if the Worker's modules exceed the limit.
 */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { buildAssets } from './build-assets.ts'

const WORKER_GZIP_BYTES_MAX = 307_200
const MODULE = /\.(js|mjs|cjs|wasm)$/

interface Size {
  name: string
  bytes: number
  gzipBytes: number
}

const root = path.resolve(import.meta.dirname, '..')
const dist = path.join(root, 'dist')
const workerDir = path.join(dist, 'worker')

function sizeOf(name: string, file: string): Size {
  const content = readFileSync(file)
  return { name, bytes: content.byteLength, gzipBytes: gzipSync(content, { level: 9 }).byteLength }
}

function total(name: string, sizes: Size[]): Size {
  const sum = (pick: (size: Size) => number) => sizes.reduce((all, size) => all + pick(size), 0)
  return { name, bytes: sum((size) => size.bytes), gzipBytes: sum((size) => size.gzipBytes) }
}

const count = (bytes: number): string => bytes.toLocaleString('en').padStart(11)

const print = ({ name, bytes, gzipBytes }: Size): void =>
  console.log(`${name.padEnd(36)}${count(bytes)} bytes ${count(gzipBytes)} gzip`)

/** The modules of a dry-run deployment. Throws an error with wrangler's output if the Worker does not bundle. */
function workerSizes(): Size[] {
  rmSync(workerDir, { recursive: true, force: true })
  const bin = path.join(root, 'node_modules/.bin')
  // wrangler starts with `env node`, so PATH must start with the pinned Node's folder.
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH ?? ''}`, WRANGLER_SEND_METRICS: 'false' }
  const args = ['deploy', '--dry-run', '--outdir', workerDir]
  execFileSync(path.join(bin, 'wrangler'), args, { cwd: root, env, stdio: 'pipe', encoding: 'utf8' })
  const names = readdirSync(workerDir, { recursive: true, encoding: 'utf8' }).filter((name) => MODULE.test(name))
  if (names.length === 0) throw new Error(`wrangler wrote no module to ${workerDir}`)
  return names.sort().map((name) => sizeOf(`worker/${name}`, path.join(workerDir, name)))
}

async function clientSizes(): Promise<Size[]> {
  const manifest = await buildAssets(path.join(root, 'src/web/client'), dist)
  return ['style.css', 'main.js'].map((name) =>
    sizeOf(`client/${name}`, path.join(dist, 'assets', manifest[name]!.path)),
  )
}

/** The message of a failed command includes its stderr but not its stdout. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'stdout' in error ? `${error.message}\n${error.stdout}` : error.message
}

try {
  const client = await clientSizes()
  const worker = workerSizes()
  const whole = total('worker, total', worker)
  for (const size of [...worker, whole, ...client]) print(size)
  if (whole.gzipBytes > WORKER_GZIP_BYTES_MAX) {
    const over = whole.gzipBytes - WORKER_GZIP_BYTES_MAX
    console.error(
      `The Worker is ${over.toLocaleString('en')} bytes over its limit of ${WORKER_GZIP_BYTES_MAX.toLocaleString('en')} bytes gzipped. ` +
        'To find the dependency that grew, run `npx wrangler deploy --dry-run --outdir dist/worker --metafile`.',
    )
    process.exitCode = 1
  }
} catch (error) {
  console.error(`Could not measure the size:\n${reasonOf(error)}`)
  process.exitCode = 1
}
