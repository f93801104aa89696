# MatviewRandom::Types
#
# The column types of the randomized test with the few values of each, so
# that groups, joins and duplicates collide.
#
# A type whose "=" calls different images equal has a "norm": an expression
# that maps all equal values to one image.  Where a query shows one of several
# equal values (a group key, a least value), which one is PostgreSQL's choice,
# and the oracle compares the norm.  Everywhere else it compares the image.
package MatviewRandom::Types;

use strict;
use warnings;
use Exporter 'import';
use MatviewRandom::Dice;

our @EXPORT = qw(%TYPE type_sql quote_name quote_text any_value as_sql as_copy
  norm_of is_groupable is_sortable is_exact column_types exact_types);

# sql   how a column of the type is declared
# eq    has "=": can be grouped, made distinct, counted distinct
# sort  has min() and max() in every version
# num   has sum() and avg()
# rare  how seldom a column has the type (the weight)
our %TYPE = (
	int => {
		sql => 'integer', eq => 1, sort => 1, num => 1, weight => 12,
		values => [qw(0 1 2 3 4 5 7 -1)] },
	bigint => {
		sql => 'bigint', eq => 1, sort => 1, num => 1, weight => 6,
		values => [qw(0 1 2 3 4000000000 -5)] },
	smallint => {
		sql => 'smallint', eq => 1, sort => 1, num => 1, weight => 5,
		values => [qw(0 1 2 3 10 -4)] },
	numeric => {
		sql => 'numeric', eq => 1, sort => 1, num => 1, weight => 6,
		norm => 'trim_scale(%s)',
		values => [qw(0 0.000 1 1.0 1.00 2.5 2.50 -3 10 1 2 0.125)],
		odd => [qw(NaN Infinity -Infinity 12345678901234567890.5)] },
	money2 => {
		sql => 'numeric(10,2)', eq => 1, sort => 1, num => 1, weight => 6,
		values => [qw(0.00 1.00 1.50 9.99 -3.25 100.00)] },
	text => {
		sql => 'text', eq => 1, sort => 1, weight => 10,
		values => [ 'a', 'b', 'A', '', 'x y', "it's", 'back\\slash', "\x{e4}" ],
		odd => [ 'long ' x 30, 'tab	and "quote"' ] },
	bigtext => {
		sql => 'text', eq => 1, weight => 1,
		values => [ 'q' x 2100, 'short', 'r' x 2300 ] },
	varchar => {
		sql => 'varchar(12)', eq => 1, weight => 3,
		values => [ 'a', 'b', 'beta', 'a ' ] },
	char => {
		sql => 'character(4)', eq => 1, sort => 1, weight => 2,
		values => [ 'a', 'b', 'ab', '' ] },
	nocase => {
		sql => 'text COLLATE nocase', base => 'text', eq => 1, weight => 2,
		norm => 'lower(%s COLLATE "C")',
		values => [ 'a', 'A', 'b', 'B', 'c' ] },
	float => {
		sql => 'double precision', eq => 1, sort => 1, num => 1, weight => 6,
		norm => '(%s + 0.0::float8)',
		values => [qw(0 -0 0.25 1.5 -2.75 100 3)],
		odd => [qw(NaN Infinity -Infinity)] },
	real => {
		sql => 'real', eq => 1, sort => 1, num => 1, weight => 2,
		norm => '(%s + 0.0::float4)',
		values => [qw(0 -0 0.25 1.5 -2.75 8)] },
	bool => {
		sql => 'boolean', eq => 1, weight => 7, values => [qw(t f)] },
	date => {
		sql => 'date', eq => 1, sort => 1, weight => 5,
		values => [qw(2024-01-31 2024-02-01 2024-02-29 2020-12-31)],
		odd => [qw(infinity)] },
	time => {
		sql => 'time', eq => 1, sort => 1, weight => 1,
		values => [qw(00:00:00 12:30:00 23:59:59.5)] },
	timestamp => {
		sql => 'timestamp', eq => 1, sort => 1, weight => 4,
		values => [ '2024-01-31 10:00:00', '2024-01-31 10:00:00.5',
			'2024-02-01 00:00:00', '2023-06-15 23:59:59' ] },
	timestamptz => {
		sql => 'timestamptz', eq => 1, sort => 1, weight => 4,
		values => [ '2024-01-31 23:30:00+00', '2024-02-01 00:30:00+02',
			'2024-03-31 01:30:00+00' ] },
	interval => {
		sql => 'interval', eq => 1, sort => 1, num => 1, weight => 2,
		values => [ '1 day', '2 days', '1 year', '-3 hours' ] },
	jsonb => {
		sql => 'jsonb', eq => 1, weight => 4,
		values => [ '{"a": 1}', '{"a": 2, "b": "x"}', '[1, 2]', 'null', '"x"', '{"a": null}' ] },
	json => {
		sql => 'json', weight => 3,
		values => [ '{"a": 1}', '{"a":1}', '{"a": "z", "a": 3}', '[1, 2]' ] },
	texts => {
		sql => 'text[]', eq => 1, sort => 1, weight => 3,
		values => [ '{}', '{a}', '{a,b}', '{b,NULL}', '{b,a,b}' ] },
	ints => {
		sql => 'integer[]', eq => 1, sort => 1, weight => 2,
		values => [ '{}', '{1}', '{1,2}', '{2,NULL,2}', '[0:1]={1,2}' ] },
	mood => {
		sql => 'mood', eq => 1, sort => 1, weight => 4,
		values => [qw(low mid high)] },
	count_dom => {
		sql => 'count_dom', base => 'int', eq => 1, num => 1, weight => 2,
		values => [qw(0 1 2 6)] },
	pair => {
		sql => 'pair', eq => 1, weight => 2,
		values => [ '(1,a)', '(1,b)', '(2,)', '(,"x y")', '(,)' ] },
	bytea => {
		sql => 'bytea', eq => 1, weight => 2,
		values => [ '\\x00', '\\x0001', '\\xdeadbeef', '\\x' ] },
	uuid => {
		sql => 'uuid', eq => 1, weight => 2,
		values => [ '00000000-0000-0000-0000-000000000001',
			'ffffffff-0000-4000-8000-000000000002' ] },
	inet => {
		sql => 'inet', eq => 1, sort => 1, weight => 1,
		values => [qw(10.0.0.1 10.0.0.0/8 ::1)] },
	bits => {
		sql => 'bit varying(6)', eq => 1, weight => 1, values => [qw(0 1 101 0101)] },
	range => {
		sql => 'int4range', eq => 1, weight => 1,
		values => [ 'empty', '[1,4)', '[2,5)', '(,3)' ] },
	point => {
		sql => 'point', weight => 2, values => [ '(0,0)', '(1,2)', '(1.5,-2)' ] },);

# Relation columns are { n => quoted name, t => key of %TYPE }.

sub type_sql { return $TYPE{ $_[0] }{sql} }
sub is_groupable { return $TYPE{ $_[0] }{eq} }
sub is_sortable { return $TYPE{ $_[0] }{sort} }
sub norm_of { return $TYPE{ $_[0] }{norm} }

# Equal values have one image, and a sort tells all others apart
my %EXACT = map { $_ => 1 } qw(int bigint smallint money2 text varchar bool date time timestamp timestamptz mood bytea uuid);

sub is_exact { return $EXACT{ $_[0] } }
sub exact_types { return map { $_ => $TYPE{$_}{weight} } sort keys %EXACT }

sub column_types
{
	return map { $_ => $TYPE{$_}{weight} } sort keys %TYPE;
}

sub quote_name
{
	my ($name) = @_;
	return $name if $name =~ /^[a-z_][a-z0-9_]*$/ && $name !~ /^(?:select|order|count|sum|user|xmin)$/;
	$name =~ s/"/""/g;
	return qq("$name");
}

sub quote_text
{
	my ($text) = @_;
	my $escape = $text =~ /\\/ ? 'E' : '';
	$text =~ s/(['\\])/$1$1/g;
	return "$escape'$text'";
}

# A raw value, or undef for NULL
sub any_value
{
	my ($type, $null_percent) = @_;
	my $def = $TYPE{$type};
	return undef if chance($null_percent // 15);
	return pick(@{ $def->{odd} }) if $def->{odd} && chance(2);
	return pick(@{ $def->{values} });
}

sub as_sql
{
	my ($type, $raw) = @_;
	(my $sql = $TYPE{$type}{sql}) =~ s/ COLLATE .*//;
	return "NULL::$sql" if !defined $raw;
	return $raw if $type eq 'int' && $raw =~ /^\d+$/;
	return $raw eq 't' ? 'true' : 'false' if $type eq 'bool';
	return "repeat('$1', " . length($raw) . ')' if $raw =~ /^(.)\1{1000}/;
	return quote_text($raw) . "::$sql";
}

sub as_copy
{
	my ($raw) = @_;
	return '\\N' if !defined $raw;
	$raw =~ s/\\/\\\\/g;
	$raw =~ s/\t/\\t/g;
	return $raw;
}

1;
