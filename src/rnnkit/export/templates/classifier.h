
#define ${upper}_LABELS $count
static const char *const ${name}_labels[$count] = {
$labels
};

typedef struct {
    float probabilities[$count], scores[$count];
    int label, steps;
$fields
    float scratch[$scratch];
} ${name}_stream;
$body