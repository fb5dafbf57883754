// What applications do with a driver of npm, run through the stand-in to see what pins. See ../clients.py.
import 'reflect-metadata'
import fs from 'node:fs'
import pg from 'pg'

const TIMES = 12
const env = process.env
const ssl = { ca: fs.readFileSync(env.PGSSLROOTCERT, 'utf8') }
const login = { host: env.PGHOST, port: Number(env.PGPORT), user: env.PGUSER, password: env.PGPASSWORD, database: env.PGDATABASE, ssl }
const url = `postgresql://${env.PGUSER}:${env.PGPASSWORD}@${env.PGHOST}:${env.PGPORT}/${env.PGDATABASE}`

async function nodePostgres(options = {}, settings = {}) {
  const pool = new pg.Pool({ ...login, max: 1, ...settings })
  for (let n = 0; n < TIMES; n++) await pool.query({ text: 'SELECT id, name FROM items WHERE id = $1', values: [n], ...options })
  const client = await pool.connect()
  await client.query('BEGIN')
  await client.query('INSERT INTO items (name) VALUES ($1)', ['one'])
  await client.query('COMMIT')
  await client.query('SELECT 1 / $1::int', [0]).catch(() => {})
  client.release()
  await pool.end()
}

async function drizzle(prepared) {
  const { drizzle } = await import('drizzle-orm/node-postgres')
  const { pgTable, serial, text } = await import('drizzle-orm/pg-core')
  const { eq, sql } = await import('drizzle-orm')
  const items = pgTable('items', { id: serial('id').primaryKey(), name: text('name') })
  const pool = new pg.Pool({ ...login, max: 1 })
  const db = drizzle(pool)
  const named = db.select().from(items).where(eq(items.id, sql.placeholder('id'))).prepare('by_id')
  for (let n = 0; n < TIMES; n++) {
    if (prepared) await named.execute({ id: n })
    else await db.select().from(items).where(eq(items.id, n))
  }
  await db.transaction(async tx => { await tx.insert(items).values([{ name: 'one' }, { name: 'two' }]) })
  await pool.end()
}

async function knexClient() {
  const { default: knex } = await import('knex')
  const db = knex({ client: 'pg', connection: login, pool: { min: 0, max: 1 } })
  for (let n = 0; n < TIMES; n++) await db('items').where({ id: n })
  await db.transaction(async tx => { await tx('items').insert([{ name: 'one' }, { name: 'two' }]) })
  await db.destroy()
}

async function sequelize(settings = {}) {
  const { Sequelize, DataTypes } = await import('sequelize')
  const db = new Sequelize(url, { logging: false, pool: { max: 1 }, ...settings, dialectOptions: { ssl, ...settings.dialectOptions } })
  const Item = db.define('items', { name: DataTypes.TEXT }, { timestamps: false, tableName: 'items' })
  for (let n = 0; n < TIMES; n++) await Item.findByPk(n)
  await db.transaction(async transaction => { await Item.bulkCreate([{ name: 'one' }, { name: 'two' }], { transaction }) })
  await db.close()
}

async function typeorm() {
  const { DataSource, EntitySchema } = await import('typeorm')
  const Item = new EntitySchema({ name: 'Item', tableName: 'items', columns: { id: { type: Number, primary: true, generated: true }, name: { type: String } } })
  const db = new DataSource({ type: 'postgres', ...login, username: login.user, entities: [Item], poolSize: 1 })
  await db.initialize()
  for (let n = 0; n < TIMES; n++) await db.getRepository('Item').findOneBy({ id: n })
  await db.transaction(async manager => { await manager.getRepository('Item').save([{ name: 'one' }, { name: 'two' }]) })
  await db.destroy()
}

async function prisma(settings) {
  const { default: { PrismaClient } } = await import('./generated/index.js')
  const { PrismaPg } = await import('@prisma/adapter-pg')
  const db = new PrismaClient({ adapter: new PrismaPg({ ...login, max: 1 }, settings) })
  for (let n = 0; n < TIMES; n++) await db.item.findUnique({ where: { id: n } })
  await db.item.create({ data: { name: 'one' } })
  await db.$transaction(async tx => { await tx.item.create({ data: { name: 'two' } }) })
  await db.$transaction([db.item.count()], { isolationLevel: 'RepeatableRead' })
  await db.$disconnect()
}

const clients = {
  node_postgres: () => nodePostgres(),
  node_postgres_named: () => nodePostgres({ name: 'by_id' }),
  drizzle: () => drizzle(false),
  drizzle_prepared: () => drizzle(true),
  knex: knexClient,
  sequelize: () => sequelize(),
  sequelize_quiet: () => sequelize({ keepDefaultTimezone: true, standardConformingStrings: false, dialectOptions: { clientMinMessages: 'ignore' } }),
  typeorm,
  prisma: () => prisma(),
  prisma_named: () => prisma({ statementNameGenerator: ({ sql }) => 's' + sql.length }),
}

await clients[process.argv[2]]()
