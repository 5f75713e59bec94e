import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { buildAssets } from '../../../scripts/build-assets.ts'

let folder: string
let source: string
let dist: string

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'banyan-assets-'))
  source = path.join(folder, 'client')
  dist = path.join(folder, 'dist')
  mkdirSync(source)
  // The compiler takes the nearest one, and the folder for temporary files may be inside the project.
  writeFileSync(path.join(source, 'tsconfig.json'), '{}')
  writeFileSync(path.join(source, 'greet.ts'), "export const greet = (name: string): string => 'Hello ✓ ' + name\n")
  writeFileSync(path.join(source, 'main.ts'), "import { greet } from './greet.ts'\nconsole.log(greet('you'))\n")
  writeFileSync(path.join(source, 'style.css'), ':root {\n  --paper: #f5efe1;\n}\n\nbody {\n  color: red;\n}\n')
  writeFileSync(path.join(source, 'icon.svg'), '<svg xmlns="http://www.w3.org/2000/svg"/>\n')
})

afterEach(() => rmSync(folder, { recursive: true }))

const built = (): string[] => readdirSync(path.join(dist, 'assets'), { recursive: true, encoding: 'utf8' }).sort()
const files = (): string[] => [
  ...built().map((name) => path.join(dist, 'assets', name)),
  path.join(dist, 'asset-manifest.ts'),
]

test('each file is named by its content’s SHA-256, and the manifest lists it', async () => {
  const manifest = await buildAssets(source, dist)
  expect(Object.keys(manifest)).toEqual(['icon.svg', 'main.js', 'style.css'])
  for (const asset of Object.values(manifest)) {
    const bytes = readFileSync(path.join(dist, 'assets', asset.path))
    const hash = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
    expect(asset.path).toMatch(new RegExp(`^/assets/(icon|main|style)\\.${hash}\\.(svg|js|css)$`))
    expect([asset.etag, asset.bytes]).toEqual([`"${hash}"`, bytes.byteLength])
  }
  expect(manifest['style.css']?.type).toBe('text/css; charset=utf-8')
  expect(manifest['main.js']?.type).toBe('text/javascript; charset=utf-8')
  expect(manifest['icon.svg']?.type).toBe('image/svg+xml')
  const module = await import(path.join(dist, 'asset-manifest.ts'))
  expect(module.manifest).toEqual(manifest)
})

test('the script is one file with its imports; script and style are small', async () => {
  const manifest = await buildAssets(source, dist)
  const read = (name: string) => readFileSync(path.join(dist, 'assets', manifest[name]!.path), 'utf8')
  expect(read('main.js')).toMatch(/^\(\(\)=>\{.*Hello ✓.*\}\)\(\);\n$/)
  expect(read('style.css')).toBe(':root{--paper: #f5efe1}body{color:red}\n')
  expect(read('icon.svg')).toBe(readFileSync(path.join(source, 'icon.svg'), 'utf8'))
})

test('the same sources give the same bytes in any folder', async () => {
  const manifest = await buildAssets(source, dist)
  const moved = path.join(folder, 'elsewhere', 'src')
  mkdirSync(moved, { recursive: true })
  for (const name of readdirSync(source)) writeFileSync(path.join(moved, name), readFileSync(path.join(source, name)))
  expect(await buildAssets(moved, path.join(folder, 'other'))).toEqual(manifest)
  const module = (folderName: string) => readFileSync(path.join(folder, folderName, 'asset-manifest.ts'), 'utf8')
  expect(module('other')).toBe(module('dist'))
})

test('a second build rewrites nothing', async () => {
  await buildAssets(source, dist)
  for (const file of files()) utimesSync(file, 1, 1)
  await buildAssets(source, dist)
  expect(files().filter((file) => statSync(file).isFile() && statSync(file).mtimeMs !== 1_000)).toEqual([])
})

test('a changed source gets a new name, and old files are removed', async () => {
  const before = await buildAssets(source, dist)
  writeFileSync(path.join(dist, 'assets', '.stray'), '')
  writeFileSync(path.join(source, 'style.css'), 'body { color: blue }')
  const after = await buildAssets(source, dist)
  expect(after['style.css']?.path).not.toBe(before['style.css']?.path)
  expect(after['main.js']).toEqual(before['main.js'])
  const wanted = Object.values(after).map((asset) => asset.path.slice(1))
  expect(built()).toEqual(['assets', ...wanted].sort())
})

test('if a source does not compile or is missing, the previous build stays', async () => {
  await buildAssets(source, dist)
  const before = built()
  writeFileSync(path.join(source, 'main.ts'), 'const = 1')
  await expect(buildAssets(source, dist)).rejects.toThrow(/main\.ts:1:6: ERROR/)
  rmSync(path.join(source, 'main.ts'))
  await expect(buildAssets(source, dist)).rejects.toThrow(/main\.ts/)
  rmSync(path.join(source, 'icon.svg'))
  await expect(buildAssets(source, dist)).rejects.toThrow(/icon\.svg/)
  expect(built()).toEqual(before)
})
