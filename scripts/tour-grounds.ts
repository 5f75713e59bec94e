import { spawn } from 'node:child_process'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { root } from '../src/cli/shell/root.ts'
import { localShards, withShards } from '../src/cli/wrangler/shard-bindings.ts'
import { cliOn } from '../test/support/platform/cli-run.ts'
import { startPlatform } from '../test/support/platform/double.ts'
import { DevServer } from './dev-server.ts'
import { ensureDevVars } from './dev-vars.ts'

/** Where the commands of a tour run. */
export interface TourGround {
  /** Resolves to the exit code and the output, with its addresses and file names replaced by those of the pages. */
  run(args: string[]): Promise<{ code: number | null; text: string }>
  close(): Promise<void>
}

/** A dev server of two shards, with its own configuration and data. */
export async function devGround(): Promise<TourGround> {
  const configName = 'wrangler.shards-tour.toml'
  const configPath = path.join(root, configName)
  const token = ensureDevVars(root).OPERATOR_TOKEN!
  writeFileSync(configPath, withShards(readFileSync(path.join(root, 'wrangler.toml'), 'utf8'), localShards(0, 2)))
  const server = await DevServer.make('--config', configPath)
  const examples = path.join(server.folder, 'examples')
  cpSync(path.join(root, 'docs/examples'), examples, { recursive: true })
  await server.start()
  return {
    async run(args) {
      const isLocal = /^(shards (add|remove)|migrations )/.test(`${args.join(' ')} `)
      const persisted = args[1] === 'remove' ? [] : ['--persist-to', server.folder]
      const { code, text } = await banyan([...args, ...(isLocal ? ['--config', configPath, ...persisted] : [])], {
        // The files that an import keeps beside its input are deleted with the rest.
        cwd: args[0] === 'import' ? examples : root,
        env: { BANYAN_URL: server.url.origin, BANYAN_TOKEN: token },
      })
      return {
        code,
        text: text.replaceAll(configName, 'wrangler.toml').replaceAll(server.url.origin, 'http://localhost:8787'),
      }
    },
    async close() {
      await server.remove()
      rmSync(configPath, { force: true })
    },
  }
}

/**
 * A double of the platform that runs uploaded Workers. Uses the operators' token that the first deployment generates.
 */
export async function platformGround(): Promise<TourGround> {
  const platform = await startPlatform({ serving: 'runtime' })
  const cli = cliOn(platform, 'tour')
  let token: string | undefined
  return {
    async run(args) {
      const { exitCode, stdout, stderr } = await cli.run(...args, ...(token ? ['--token', token] : []))
      const text = `${stderr}${stdout}`.trimEnd()
      token ??= /token: (\S+)/.exec(text)?.[1]
      return { code: exitCode, text: text.replaceAll('wrangler.double-tour.toml', 'wrangler.toml') }
    },
    async close() {
      cli.close()
      await platform.close()
    },
  }
}

function banyan(
  args: string[],
  { cwd, env }: { cwd: string; env: Record<string, string> },
): Promise<{ code: number | null; text: string }> {
  const child = spawn(process.execPath, [path.join(root, 'src/cli/main.ts'), ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => {
      text += part
    })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, text: text.trimEnd() }))
  })
}
