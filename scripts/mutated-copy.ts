/** A copy of the tree, from which one thing at a time is removed and then restored. */
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { root } from '../src/cli/shell/root.ts'

/** A piece of source text to remove from a file, and its replacement. */
export interface Cut {
  file: string
  take: RegExp
  leave: string
}

const parts = [
  'src',
  'workers',
  'test',
  'scripts',
  'migrations',
  'docs',
  'dist',
  'wrangler.toml',
  'package.json',
  'tsconfig.json',
  'vitest.config.ts',
  '.dev.vars.example',
]

export class MutatedCopy {
  readonly folder: string

  constructor(name: string) {
    this.folder = path.join(root, '.mutants', name)
    rmSync(this.folder, { recursive: true, force: true })
    mkdirSync(this.folder, { recursive: true })
    for (const part of parts) cpSync(path.join(root, part), path.join(this.folder, part), { recursive: true })
    symlinkSync(path.join(root, 'node_modules'), path.join(this.folder, 'node_modules'))
  }

  /** Runs `body` while all cuts are applied. Throws if a cut matches nothing. */
  without<T>(cuts: Cut[], body: () => T): T {
    const originals = new Map<string, string>()
    try {
      for (const { file, take, leave } of cuts) {
        const target = path.join(this.folder, file)
        const text = readFileSync(target, 'utf8')
        if (!originals.has(target)) originals.set(target, text)
        const mutated = text.replace(take, leave)
        if (mutated === text) throw new Error(`Nothing in ${file} matches the cut ${take}`)
        writeFileSync(target, mutated)
      }
      return body()
    } finally {
      for (const [target, text] of originals) writeFileSync(target, text)
    }
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
