import { existsSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { present } from '../../core/present.ts'
import { openPlatform, type Platform } from '../platform/api.ts'
import { accountSubdomain } from '../platform/worker.ts'
import { readAddress } from '../shell/address.ts'
import { UserError } from '../shell/errors.ts'
import { replaceFile } from '../shell/replace-file.ts'
import { root } from '../shell/root.ts'
import { readConfig, type WranglerConfig } from '../wrangler/config.ts'
import { openWrangler, type Wrangler } from '../wrangler/subprocess.ts'
import { buildStaticFiles, type StaticFile } from './static-files.ts'

/** For the help of the commands that open an account. */
export const PLATFORM_HELP =
  'It needs CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID (docs/operating/deploying.md). It ignores BANYAN_URL: without ' +
  '--url, it uses PUBLIC_ORIGIN in the configuration, or the application’s address on workers.dev.'

/** The configuration, account and tools of `deploy`, `rollback` and `restore`. */
export interface Deployment {
  platform: Platform
  wrangler: Wrangler
  configPath: string
  readConfigText(): string
  writeConfigText(text: string): void
  /** Ids of the existing databases, by binding. */
  databaseIds: Map<string, string>
  /** Generated secrets that the operator may not have seen yet. */
  drawn: DrawnSecrets
  /** Builds the static files, and lists those that this version needs in the store. */
  staticFiles(): Promise<StaticFile[]>
  /** Prints a line about a long step. */
  say(line: string): void
  sleep(ms: number): Promise<unknown>
}

/**
 * A file in the project folder that only its owner can read. An interrupted run must not lose the token that it set.
 */
export interface DrawnSecrets {
  file: string
  read(): Record<string, string>
  write(secrets: Record<string, string>): void
  remove(): void
}

interface DeploymentOptions {
  /** A path relative to the working directory. Default: the project's wrangler.toml. */
  config?: string | undefined
  environment: NodeJS.ProcessEnv
  sleep: (ms: number) => Promise<unknown>
  say: (line: string) => void
}

/** Reads the configuration and opens the account. Throws UserError if a file or setting is missing. */
export function openDeployment({ config: given, environment, sleep, say }: DeploymentOptions): Deployment {
  const configPath = given === undefined ? path.join(root, 'wrangler.toml') : path.resolve(given)
  if (!existsSync(configPath))
    throw new UserError(`There is no ${configPath}.`, 'Pass the path of the configuration with --config.')
  const config = readConfig(readFileSync(configPath, 'utf8'))
  const accountId = environment.CLOUDFLARE_ACCOUNT_ID || config.accountId
  if (config.accountId && accountId !== config.accountId)
    throw new UserError(
      `CLOUDFLARE_ACCOUNT_ID is ${accountId}, but the configuration belongs to the account ${config.accountId}.`,
      'Unset CLOUDFLARE_ACCOUNT_ID, or pass the other account’s configuration with --config.',
    )
  const baseUrl = environment.CLOUDFLARE_API_BASE_URL
  const platform = openPlatform({ baseUrl, token: environment.CLOUDFLARE_API_TOKEN, accountId, sleep })
  const forWrangler = {
    CLOUDFLARE_ACCOUNT_ID: platform.accountId,
    CLOUDFLARE_API_TOKEN: present(environment.CLOUDFLARE_API_TOKEN, 'the token that opened the platform'),
    ...(baseUrl ? { CLOUDFLARE_API_BASE_URL: baseUrl } : {}),
  }
  return {
    platform,
    wrangler: openWrangler(configPath, forWrangler),
    configPath,
    readConfigText: () => readFileSync(configPath, 'utf8'),
    writeConfigText: (text) => replaceFile(configPath, text, 0o644),
    databaseIds: new Map(),
    drawn: drawnSecrets(path.join(root, '.wrangler/deploy', `${config.name}-${platform.accountId}.secrets.json`)),
    staticFiles: buildStaticFiles,
    say,
    sleep,
  }
}

/**
 * The application's address: `--url`, or the configuration's `PUBLIC_ORIGIN`, or its address on workers.dev. Throws
 * UserError if the account has none.
 */
export async function addressOf(platform: Platform, config: WranglerConfig, url: string | undefined): Promise<string> {
  const given = url ?? config.publicOrigin
  if (given !== null) return readAddress(given).origin
  const subdomain = await accountSubdomain(platform)
  if (subdomain) return `https://${config.name}.${subdomain}.workers.dev`
  throw new UserError(
    'The account has no address on workers.dev yet.',
    `Choose one at https://dash.cloudflare.com/${platform.accountId}/workers/onboarding, or set PUBLIC_ORIGIN and a route in the configuration.`,
  )
}

export function drawnSecrets(file: string): DrawnSecrets {
  return {
    file,
    read: () => (existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>) : {}),
    write: (secrets) => replaceFile(file, JSON.stringify(secrets), 0o600),
    remove: () => rmSync(file, { force: true }),
  }
}
