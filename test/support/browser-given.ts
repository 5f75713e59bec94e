import type { BrowserContextOptions, Page } from 'playwright-core'
import type { Stack } from './stack.ts'

/**
 * The arguments of a noun's own browser tests, `test/e2e/<noun>/browser.ts`. test/e2e/browser.test.ts passes them and
 * shares its stack.
 */
export interface BrowserGiven {
  stack(): Stack
  /** A page in its own browser context, with its own cookies. */
  open(options?: BrowserContextOptions): Promise<Page>
  signUp(page: Page, handle: string): Promise<void>
  logIn(page: Page, login: string): Promise<void>
  /** Presses Tab until the element with this id has focus. */
  tabTo(page: Page, id: string): Promise<void>
  /** The pages at these paths that are wider than the window. Without paths, checks the current page. */
  tooWide(page: Page, paths?: string[]): Promise<string[]>
}
