import { spawn } from 'node:child_process'
import { copyFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { root } from '../../../src/cli/shell/root.ts'
import type { PlatformDouble } from './double.ts'

interface CliRun {
  exitCode: number | null
  stdout: string
  stderr: string
}

/** The command itself as a process, against a double of the platform. wrangler is the real one. */
export interface CliOnDouble {
  configPath: string
  run(...args: string[]): Promise<CliRun>
  close(): void
}

/**
 * Writes a copy of the shipped configuration into the project's folder, because wrangler resolves paths from the
 * configuration's folder.
 */
export function cliOn(platform: PlatformDouble, name: string): CliOnDouble {
  const configPath = path.join(root, `wrangler.double-${name}.toml`)
  copyFileSync(path.join(root, 'wrangler.toml'), configPath)
  return {
    configPath,
    async run(...args) {
      const command = [path.join(root, 'src/cli/main.ts'), ...args, '--config', configPath, '--url', platform.siteUrl]
      const env = { ...process.env, BANYAN_TOKEN: '', ...platform.environment }
      const child = spawn(process.execPath, command, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
      const said = { stdout: '', stderr: '' }
      for (const name of ['stdout', 'stderr'] as const)
        child[name].on('data', (chunk: Buffer) => {
          said[name] += chunk.toString()
        })
      const exitCode = await new Promise<number | null>((resolve) => child.on('close', resolve))
      return { exitCode, ...said }
    },
    close: () => rmSync(configPath, { force: true }),
  }
}
