/** What the API answers, as far as a run looks at it. Null for anything else than what the contract says. */

export interface ReadPost {
  id: string
  text: string
}

export interface Page {
  items: ReadPost[]
  next: string | null
}

export function textOfPost(body: string): ReadPost | null {
  const { post } = parsed<{ post?: ReadPost }>(body)
  return post && isPost(post) ? post : null
}

export function bioOf(body: string): string | null {
  const { user } = parsed<{ user?: { bio?: string } }>(body)
  return typeof user?.bio === 'string' ? user.bio : null
}

export function listedPosts(body: string): Page | null {
  const { items, next } = parsed<Partial<Page>>(body)
  const isNext = next === null || typeof next === 'string'
  return isNext && Array.isArray(items) && items.every(isPost) ? { items, next } : null
}

const isPost = (post: ReadPost): boolean => typeof post?.id === 'string' && typeof post.text === 'string'

function parsed<T extends object>(body: string): Partial<T> {
  try {
    return (JSON.parse(body) ?? {}) as T
  } catch {
    return {}
  }
}
