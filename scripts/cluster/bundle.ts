import { execFile } from 'node:child_process'
import path from 'node:path'
import { promisify } from 'node:util'
import { root } from '../../src/cli/shell/root.ts'

/**
 * Bundles the Worker like a deployment. `main` replaces the configuration's file. wrangler starts with `env node`, so
 * PATH must start with the pinned Node's folder.
 */
export async function bundle(configPath: string, outDir: string, main: string[] = []): Promise<void> {
  const bin = path.join(root, 'node_modules/.bin')
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH ?? ''}` }
  const args = ['deploy', ...main, '--dry-run', '--config', configPath, '--outdir', outDir]
  await promisify(execFile)(path.join(bin, 'wrangler'), args, { cwd: root, env })
}
