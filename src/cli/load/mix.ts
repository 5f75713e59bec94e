import type { Ended } from './client.ts'
import { below, type Random, zipfRank } from './draws.ts'
import type { Kind } from './figures.ts'
import type { Person, Post } from './people.ts'
import type { Requests } from './requests.ts'

/** Shares of the reads: the rest are posts of anybody's, by Zipf's law. */
const OWN_POSTS = 0.15
const PROFILES = 0.15
const LISTS = 0.1
/** Of profiles and lists, how many are the reader's own. */
const OWN = 0.25
/** Shares of the writes: the rest are new posts. */
const EDITS = 0.4
const PROFILE_EDITS = 0.1

const TRIES = 3

export interface LoadRequest {
  kind: Kind
  send(): Promise<Ended>
}

export interface Mix {
  random: Random
  /** The share of requests that read, 0 to 1. */
  reads: number
  people: Person[]
  /** Acknowledged posts of all. */
  posts: Post[]
  requests: Requests
  now: number
}

/** Draws what is sent next; null for a write while everybody is writing. */
export function drawRequest(mix: Mix): LoadRequest | null {
  return mix.random() < mix.reads ? drawRead(mix) : drawWrite(mix)
}

function drawRead({ random, people, posts, requests }: Mix): LoadRequest {
  const reader = oneOf(random, people)
  const draw = random()
  if (draw < PROFILES + LISTS) {
    const person = random() < OWN ? reader : oneOf(random, people)
    return draw < PROFILES
      ? { kind: 'read profile', send: () => requests.readProfile(reader, person) }
      : { kind: 'list posts', send: () => requests.listPosts(reader, person) }
  }
  const own = reader.posts.at(-1)
  const isOwn = own && draw < PROFILES + LISTS + OWN_POSTS
  const post = isOwn ? own : posts[zipfRank(random, posts.length) - 1]
  return post
    ? { kind: 'read post', send: () => requests.readPost(reader, post) }
    : { kind: 'list posts', send: () => requests.listPosts(reader, reader) }
}

function drawWrite({ random, people, requests, now }: Mix): LoadRequest | null {
  const writer = freeOne(random, people)
  if (!writer) return null
  const draw = random()
  const post = draw < EDITS ? editable(random, writer, now) : null
  if (post) return { kind: 'edit post', send: () => requests.editPost(post) }
  if (draw > 1 - PROFILE_EDITS && !writer.bio.rests(now))
    return { kind: 'edit profile', send: () => requests.editProfile(writer) }
  return { kind: 'write post', send: () => requests.writePost(writer) }
}

function freeOne(random: Random, people: Person[]): Person | null {
  const first = below(random, people.length)
  for (let step = 0; step < people.length; step++) {
    const person = people[(first + step) % people.length]!
    if (!person.isWriting) return person
  }
  return null
}

/** One of somebody's posts that may be written to now, unless a few draws meet none. */
function editable(random: Random, { posts }: Person, now: number): Post | null {
  for (let tries = 0; tries < TRIES && posts.length > 0; tries++) {
    const post = oneOf(random, posts)
    if (!post.text.rests(now)) return post
  }
  return null
}

const oneOf = <T>(random: Random, all: T[]): T => all[below(random, all.length)]!
