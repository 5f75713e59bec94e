/** A copy of the project as a builder clones it, to change and test there. */
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { root } from '../src/cli/shell/root.ts'

const NOUNS = 'src/app/nouns.ts'

/** Read on import, because wrangler's tests set a folder inside the project, which the checks of a copy would ignore. */
const temporary = tmpdir()

export interface CopiedFile {
  /** Relative to the project's folder. */
  file: string
  code: string
}

export class TreeCopy {
  readonly folder: string

  /** Creates one commit, so that changes can be counted. `name` becomes part of the folder's name. */
  constructor(name: string) {
    this.folder = mkdtempSync(path.join(temporary, `banyan-${name}-`))
    const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root })
    // git still lists a file that is deleted but not committed.
    const files = listed
      .toString()
      .split('\0')
      .filter((file) => file !== '' && existsSync(path.join(root, file)))
    for (const file of files) {
      mkdirSync(path.dirname(this.pathOf(file)), { recursive: true })
      copyFileSync(path.join(root, file), this.pathOf(file))
    }
    symlinkSync(path.join(root, 'node_modules'), this.pathOf('node_modules'))
    this.git('init', '--quiet')
    writeFileSync(this.pathOf('.git/info/exclude'), 'node_modules\n')
    this.git('add', '--all')
    this.git(
      '-c',
      'user.name=Banyan',
      '-c',
      'user.email=banyan@example.com',
      'commit',
      '--quiet',
      '--message',
      'Before',
    )
  }

  pathOf(file: string): string {
    return path.join(this.folder, file)
  }

  git(...args: string[]): string {
    return execFileSync('git', args, { cwd: this.folder, encoding: 'utf8' })
  }

  /** Prints the command's output; throws if it fails. */
  npm(...args: string[]): void {
    execFileSync('npm', args, { cwd: this.folder, env: ownEnvironment(), stdio: 'inherit' })
  }

  write(files: CopiedFile[]): void {
    for (const { file, code } of files) {
      mkdirSync(path.dirname(this.pathOf(file)), { recursive: true })
      writeFileSync(this.pathOf(file), code)
    }
  }

  /** Changes a file's lines. */
  edit(file: string, change: (lines: string[]) => string[]): void {
    const before = readFileSync(this.pathOf(file), 'utf8').trimEnd().split('\n')
    writeFileSync(this.pathOf(file), `${change(before).join('\n')}\n`)
  }

  /** Adds a noun's line to the list of nouns. */
  addNoun(line: string): void {
    this.#changeNouns((lines) => [...lines, line].toSorted(byNoun))
  }

  removeNoun(name: string): void {
    this.#changeNouns((lines) => lines.filter((line) => !line.includes(`'./${name}/noun.ts'`)))
  }

  #changeNouns(change: (lines: string[]) => string[]): void {
    this.edit(NOUNS, (before) => {
      const after = change(before)
      if (Math.abs(after.length - before.length) !== 1) throw new Error(`${NOUNS} does not have one line per noun.`)
      return after
    })
  }
}

/** Without the variables of a test runner that runs this process. */
export function ownEnvironment(): NodeJS.ProcessEnv {
  const env = { ...process.env }
  for (const name of Object.keys(env)) if (name.startsWith('VITEST')) delete env[name]
  return env
}

/** Comments stay at the top. */
function byNoun(a: string, b: string): number {
  const [isLine, isOther] = [a.startsWith('export'), b.startsWith('export')]
  if (isLine && isOther) return a < b ? -1 : 1
  return Number(isLine) - Number(isOther)
}
